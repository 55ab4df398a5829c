"""brake: stop this machine's engine without database, network or password."""

from __future__ import annotations

import getpass
from enum import StrEnum
from typing import Annotated

import typer

from engine.adapters.system_clock import SystemClock
from engine.cli.output import AsJson, plain_errors, show
from engine.config import local_home
from engine.domain.errors import ConfigError
from engine.service.local_brake import LocalBrake


class Switch(StrEnum):
    """What to do with the brake."""

    ON = "on"
    OFF = "off"
    STATUS = "status"


def brake(
    switch: Switch, reason: Annotated[str, typer.Option("--reason", "-r")] = "by hand", as_json: AsJson = False
) -> None:
    """Stop this machine's engine from sending anything. Whoever may write its folder; the file says who it was."""
    held = LocalBrake(local_home() / "BRAKE")
    with plain_errors(as_json):
        _switch(held, switch, reason)
    said = held.describe()
    if as_json:
        show({"on": said is not None, "since_and_why": said, "path": str(held.path)})
    elif said is None:
        typer.echo("The brake is off.")
    else:
        typer.echo(f"The brake is on ({held.path}): {said}\nProtective orders stay at the broker.")


def _switch(held: LocalBrake, switch: Switch, reason: str) -> None:
    try:
        if switch is Switch.ON:
            held.turn_on(f"{_who()}: {reason}", SystemClock().now())
        elif switch is Switch.OFF:
            held.turn_off()
    except OSError as error:
        stays = "on" if held.is_on else "off"
        raise ConfigError(
            f"The brake stays {stays}: {held.path}: {error.strerror}. Do it as a user who may write there:"
            " whatever lies at that path, be it a folder, is the brake."
        ) from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown user"
