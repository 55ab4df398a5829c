"""The command line: run the engine, control trading, ask why, pull the local brake, replay history."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any

import typer
from supabase_auth.errors import AuthError

from db import commands
from db.client import auth_client, sign_in_client
from db.errors import AuthorityError, PreflightFailed, translated
from db.models import TradingStatus, Why
from engine.adapters.system_clock import SystemClock
from engine.config import Settings, load_settings, local_home
from engine.domain.errors import ConfigError, EngineError
from engine.logs import configure_logs
from engine.service.local_brake import LocalBrake

app = typer.Typer(help="The Interlock engine.", add_completion=False, pretty_exceptions_enable=False)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is not a number.") from error


Reason = Annotated[str, typer.Option("--reason", "-r", prompt=True, help="Why; it is audited.")]
Email = Annotated[str, typer.Option(envvar="INTERLOCK_EMAIL", prompt=True, help="Whom to act as.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Amount = Annotated[Decimal, typer.Option(parser=_number, metavar="NUMBER")]
Password = Annotated[str, typer.Option(envvar="INTERLOCK_PASSWORD", prompt=True, hide_input=True)]


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    """Run the engine until it is stopped."""
    if context.invoked_subcommand is not None:
        return
    configure_logs()
    with _plain_errors():
        from engine.main import main

        raise typer.Exit(main())


@app.command()
def replay(
    sessions: Annotated[int, typer.Option(min=1, help="Stop when this many sessions are complete.")] = 250,
) -> None:
    """Fast-forward the paper exchange with the engine's real decisions, then let it run."""
    configure_logs(logging.WARNING)
    with _plain_errors():
        from engine import bootstrap, replay

        # One sender: the exchange numbers orders as they come, and history should repeat itself.
        settings = load_settings().model_copy(update={"engine_senders": 1})
        replay.replay(bootstrap.bootstrap(settings, view_age_max_s=float("inf")), sessions)


@app.command()
def brake(switch: Switch, reason: Annotated[str, typer.Option("--reason", "-r")] = "by hand") -> None:
    """Stop this machine's engine from sending anything, without database or network."""
    local_brake = LocalBrake(local_home() / "BRAKE")
    if switch is Switch.ON:
        local_brake.turn_on(reason, SystemClock().now())
        typer.echo(f"The brake is on ({local_brake.path}). Protective orders stay at the broker.")
    else:
        local_brake.turn_off()
        typer.echo("The brake is off.")


@app.command()
def status(email: Email, password: Password, as_json: AsJson = False) -> None:
    """Show what the authority says about trading."""
    with _plain_errors():
        answer = commands.trading_status(_signed_in(load_settings(), email, password))
        _print(answer) if as_json else _tell_status(answer)


@app.command()
def why(
    symbol: Annotated[str, typer.Argument(help="Such as AAPL.")],
    email: Email,
    password: Password,
    side: Annotated[str, typer.Option(help="buy or sell")] = "buy",
    qty: Amount = Decimal(1),
    as_json: AsJson = False,
) -> None:
    """Ask whether an entry in a symbol would pass the gate right now, and if not, why not."""
    with _plain_errors():
        answers = commands.why(_signed_in(load_settings(), email, password), symbol=symbol, side=side, qty=qty)
        if as_json:
            typer.echo(json.dumps([answer.model_dump(mode="json") for answer in answers], indent=2))
        else:
            for answer in answers:
                _tell_why(answer)


@app.command()
def pause(reason: Reason, email: Email, password: Password) -> None:
    """Stop new entries; open positions keep their protection. Admins only."""
    _control(commands.pause_trading, reason, email, password)


@app.command()
def resume(
    reason: Reason,
    email: Email,
    password: Password,
    override: Annotated[
        str | None, typer.Option("--override", help="Why to resume although the pre-flight list is not met; audited.")
    ] = None,
    stage_entries: Annotated[
        int | None, typer.Option(help="Hold so many entries back: each needs approval, or see --stage-fraction.")
    ] = None,
    stage_fraction: Annotated[
        Decimal | None,
        typer.Option(parser=_number, metavar="NUMBER", help="Run them at this part of their size: 0.25."),
    ] = None,
) -> None:
    """Let entries flow again, once the pre-flight list is met or overridden. Admins only."""
    staged = {"override_reason": override, "stage_entries": stage_entries, "stage_fraction": stage_fraction}
    _control(commands.resume_trading, reason, email, password, **staged)


@app.command()
def halt(reason: Reason, email: Email, password: Password) -> None:
    """Leave nothing but cancels. Admins only."""
    _control(commands.halt_trading, reason, email, password)


def _control(command: Callable[..., Any], reason: str, email: str, password: str, **more: Any) -> None:
    with _plain_errors():
        _print(command(_signed_in(load_settings(), email, password), reason=reason, **more))


def _signed_in(settings: Settings, email: str, password: str) -> Any:
    """Sign in as a person: the command line has no rights of its own."""
    client = auth_client(settings.supabase_url, settings.supabase_publishable_key)
    try:
        with translated():
            session = client.auth.sign_in_with_password({"email": email, "password": password}).session
    except AuthError as error:
        raise ConfigError(f"sign-in refused: {error.message}") from error
    token = "" if session is None else session.access_token
    return sign_in_client(settings.supabase_url, settings.supabase_publishable_key, token)


def _print(answer: Any) -> None:
    typer.echo(json.dumps(answer.model_dump(mode="json"), indent=2))


def _tell_status(answer: TradingStatus) -> None:
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
    typer.echo(f"engine: {'alive' if engine.alive else 'STALE'}, " + (
        "never seen" if engine.age_s is None else f"seen {engine.age_s:.0f} s ago"))  # fmt: skip


def _who_when(who: str, control: Any) -> str:
    reason = f": {control.reason}" if control.reason else ""
    ends = f", resumes {control.resume_at:%Y-%m-%d %H:%M:%SZ}" if control.resume_at else ""
    return f"by {who} at {control.changed_at:%Y-%m-%d %H:%M:%SZ}{reason}{ends}"


def _tell_why(answer: Why) -> None:
    asked = f"{answer.profile}: {answer.side} {answer.qty} {answer.symbol} at {answer.price}"
    if answer.code is None:
        verdict = f"needs approval ({', '.join(answer.approval)})" if answer.approval else "would pass"
        typer.echo(f"{asked}: {verdict}")
        return
    typer.echo(f"{asked}: DENIED {answer.code}: {answer.reason}")
    for check in answer.checks:
        if not check["passed"]:
            typer.echo(f"  {check['name']}: limit {check.get('limit')}, observed {check.get('observed')}")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what an operator can mend into one line and a non-zero exit."""
    try:
        yield
    except (EngineError, AuthorityError) as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, PreflightFailed):
            for item in error.details:
                print(f"  {item['item']}: {item['detail']}", file=sys.stderr)
        raise typer.Exit(1) from None
