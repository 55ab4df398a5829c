"""The command line: run the engine, control trading, pull the local brake, replay history."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from supabase_auth.errors import AuthError

from db import commands
from db.client import auth_client, sign_in_client
from db.errors import AuthorityError, translated
from engine.adapters.system_clock import SystemClock
from engine.config import Settings, load_settings, local_home
from engine.domain.errors import ConfigError, EngineError
from engine.logs import configure_logs
from engine.service.local_brake import LocalBrake

app = typer.Typer(help="The Interlock engine.", add_completion=False, pretty_exceptions_enable=False)

Reason = Annotated[str, typer.Option("--reason", "-r", prompt=True, help="Why; it is audited.")]
Email = Annotated[str, typer.Option(envvar="INTERLOCK_EMAIL", prompt=True, help="Whom to act as.")]
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
def status(email: Email, password: Password) -> None:
    """Show what the authority says about trading."""
    with _plain_errors():
        _print(commands.trading_status(_signed_in(load_settings(), email, password)))


@app.command()
def pause(reason: Reason, email: Email, password: Password) -> None:
    """Stop new entries; open positions keep their protection. Admins only."""
    _control(commands.pause_trading, reason, email, password)


@app.command()
def resume(reason: Reason, email: Email, password: Password) -> None:
    """Let entries flow again. Admins only."""
    _control(commands.resume_trading, reason, email, password)


@app.command()
def halt(reason: Reason, email: Email, password: Password) -> None:
    """Leave nothing but cancels. Admins only."""
    _control(commands.halt_trading, reason, email, password)


def _control(command: Callable[..., Any], reason: str, email: str, password: str) -> None:
    with _plain_errors():
        _print(command(_signed_in(load_settings(), email, password), reason=reason))


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


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what an operator can mend into one line and a non-zero exit."""
    try:
        yield
    except (EngineError, AuthorityError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
