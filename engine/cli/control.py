"""status, why, pause, resume, halt: what the pages can do, at a terminal."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from db import commands
from db.models import ControlAnswer, TradingStatus, Why
from engine.cli.account import Email, Password, signed_in
from engine.cli.output import AsJson, asked, number, plain_errors, show

Amount = Annotated[Decimal, typer.Option(parser=number, metavar="NUMBER", help="How many shares.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; it is audited.")]
Symbol = Annotated[str | None, typer.Option(help="Only this symbol.")]
Profile = Annotated[str | None, typer.Option(help="Only the profile with this id.")]
RequestId = Annotated[str | None, typer.Option(help="A uuid; sent twice with the same one, it acts once.")]


def status(email: Email = None, password: Password = None, as_json: AsJson = False) -> None:
    """Show what the authority says about trading. Any member."""
    with plain_errors(as_json):
        answer = commands.trading_status(signed_in(email, password).client)
        show(answer) if as_json else tell_status(answer)


def why(
    symbol: Annotated[str, typer.Argument(help="Such as AAPL.")],
    email: Email = None,
    password: Password = None,
    side: Annotated[str, typer.Option(help="buy or sell")] = "buy",
    qty: Amount = Decimal(1),
    as_json: AsJson = False,
) -> None:
    """Ask whether an entry in a symbol would pass the gate right now, and if not, why not. Any member."""
    with plain_errors(as_json):
        answers = commands.why(signed_in(email, password).client, symbol=symbol, side=side, qty=qty)
        if as_json:
            show({"symbol": answers[0].symbol, "why": [answer.model_dump(mode="json") for answer in answers]})
        else:
            for answer in answers:
                _tell_why(answer)


def pause(
    reason: Reason = None,
    symbol: Symbol = None,
    profile: Profile = None,
    resume_at: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"], help="End then: 2026-01-05T15:00+00:00."),
    ] = None,
    keep_entries: Annotated[bool, typer.Option("--keep-entries", help="Leave resting entries at the broker.")] = False,
    request_id: RequestId = None,
    email: Email = None,
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """Stop new entries; open positions keep their protection and can be closed. Admins only."""
    more: dict[str, Any] = {"resume_at": resume_at, "cancel_entries": not keep_entries}
    with plain_errors(as_json):
        reason = asked(reason, "--reason")
        client = signed_in(email, password).client
        answer = commands.pause_trading(client, reason=reason, **_scope(symbol, profile, request_id), **more)
        _tell(answer, as_json)


def resume(
    reason: Reason = None,
    symbol: Symbol = None,
    profile: Profile = None,
    override: Annotated[
        str | None, typer.Option("--override", help="Why to resume although the pre-flight list is not met; audited.")
    ] = None,
    stage_entries: Annotated[
        int | None, typer.Option(help="Hold so many entries back: each needs approval, or see --stage-fraction.")
    ] = None,
    stage_fraction: Annotated[
        Decimal | None, typer.Option(parser=number, metavar="NUMBER", help="Run them at this part of their size: 0.25.")
    ] = None,
    request_id: RequestId = None,
    email: Email = None,
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """Let entries flow again, once the pre-flight list is met or overridden. Admins only."""
    staged: dict[str, Any] = {
        "override_reason": override, "stage_entries": stage_entries, "stage_fraction": stage_fraction,
    }  # fmt: skip
    with plain_errors(as_json):
        reason = asked(reason, "--reason")
        client = signed_in(email, password).client
        answer = commands.resume_trading(client, reason=reason, **_scope(symbol, profile, request_id), **staged)
        _tell(answer, as_json)


def halt(
    reason: Reason = None,
    symbol: Symbol = None,
    profile: Profile = None,
    request_id: RequestId = None,
    email: Email = None,
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """Leave nothing but cancels; stops that rest at the broker stay. Admins only."""
    with plain_errors(as_json):
        reason = asked(reason, "--reason")
        client = signed_in(email, password).client
        answer = commands.halt_trading(client, reason=reason, **_scope(symbol, profile, request_id))
        _tell(answer, as_json)


def tell_status(answer: TradingStatus) -> None:
    """Say in lines what a person at a terminal wants to know first."""
    typer.echo(f"{answer.mode} ({answer.phase}), {_who_when(answer.lastChangedBy, answer)}")
    if answer.stage:
        how = f"at {answer.stage.fraction} of their size" if answer.stage.fraction else "after approval"
        typer.echo(f"staged: the next {answer.stage.entries_left} entries run {how}")
    for scope in answer.scopes:
        typer.echo(f"{scope.scope} {scope.scope_key}: {scope.mode}, {_who_when(scope.changed_by_email, scope)}")
    for permit in answer.entries_in_flight:
        typer.echo(f"in flight: {permit.order_id} {permit.state} {permit.symbol or ''}".rstrip())
    if answer.next_change:
        change = answer.next_change
        typer.echo(f"next: {change['to_mode']} for {change['scope']} {change['scope_key']} at {change['at']}")
    engine = answer.engine
    seen = "never seen" if engine.age_s is None else f"seen {engine.age_s:.0f} s ago"
    typer.echo(f"engine: {'alive' if engine.alive else 'STALE'}, {seen}")


def _scope(symbol: str | None, profile: str | None, request_id: str | None) -> dict[str, Any]:
    """Return the arguments that say what a change applies to: everything, unless one of the two is named."""
    if symbol and profile:
        raise typer.BadParameter("Name a symbol or a profile, not both.")
    scope = "symbol" if symbol else "profile" if profile else "global"
    return {"scope": scope, "scope_key": symbol or profile, "request_id": request_id}


def _tell(answer: ControlAnswer, as_json: bool) -> None:
    if as_json:
        show(answer)
        return
    typer.echo(answer.message)
    if answer.entries_canceled:
        typer.echo(f"{answer.entries_canceled} entries that were not sent yet are cancelled.")
    tell_status(answer.status)


def _who_when(who: str, control: Any) -> str:
    reason = f": {control.reason}" if control.reason else ""
    ends = f", resumes {control.resume_at:%Y-%m-%d %H:%M:%SZ}" if control.resume_at else ""
    return f"by {who} at {control.changed_at:%Y-%m-%d %H:%M:%SZ}{reason}{ends}"


def _tell_why(answer: Why) -> None:
    asked_for = f"{answer.profile}: {answer.side} {answer.qty} {answer.symbol} at {answer.price}"
    if answer.code is None:
        verdict = f"needs approval ({', '.join(answer.approval)})" if answer.approval else "would pass"
        typer.echo(f"{asked_for}: {verdict}")
        return
    typer.echo(f"{asked_for}: DENIED {answer.code}: {answer.reason}")
    for check in answer.checks:
        if not check["passed"]:
            typer.echo(f"  {check['name']}: limit {check.get('limit')}, observed {check.get('observed')}")
