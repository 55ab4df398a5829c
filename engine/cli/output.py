"""What a command says and how it ends: words or one JSON document, and an exit code that a script can rely on."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel

from db.errors import AuthorityError, Conflict, Forbidden, Invalid, NotFound, NotSignedIn, Unreachable
from engine.domain.errors import AuthorityUnavailable, BrokerUnavailable, ConfigError, EngineError, Refused


class Exit(IntEnum):
    """How a command ends."""

    OK = 0
    FAULT = 1  # nobody foresaw this; the message says what happened
    USAGE = 2  # an argument or a setting is missing or wrong; nothing was done
    REFUSED = 3  # the authority said no; nothing was changed
    UNREACHABLE = 4  # no answer; nothing is known about the outcome
    NOT_HELD = 5  # a drill found something that did not hold, or could not be proven
    SIGN_IN = 6  # e-mail address or password are not right, or the sign-in has ended
    INTERRUPTED = 130  # Ctrl-C, after everything was put back


_ENDS: Final[tuple[tuple[type[Exception], Exit, str], ...]] = (
    (ConfigError, Exit.USAGE, "See --help, docs/cli.md and .env.example."),
    (Invalid, Exit.USAGE, "Mend the argument and try again; see --help."),
    (NotSignedIn, Exit.SIGN_IN, "Check INTERLOCK_EMAIL and INTERLOCK_PASSWORD."),
    (Forbidden, Exit.REFUSED, "Sign in as somebody who may, or ask an admin."),
    (NotFound, Exit.REFUSED, "Check the spelling; see `python -m engine status`."),
    (Conflict, Exit.REFUSED, "Look at `python -m engine status`, then decide again."),
    (Refused, Exit.REFUSED, "See docs/cli.md."),
    (Unreachable, Exit.UNREACHABLE, "Start the stack (`make run`), then look at `python -m engine status`."),
    (AuthorityUnavailable, Exit.UNREACHABLE, "Start the stack (`make run`), then look at `python -m engine status`."),
    (BrokerUnavailable, Exit.UNREACHABLE, "Check ALPACA_BASE_URL and that the broker answers, then try again."),
)

_VARIABLES: Final = {"--email": "INTERLOCK_EMAIL", "--password": "INTERLOCK_PASSWORD"}

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for programs.")]


@contextmanager
def plain_errors(as_json: bool = False) -> Iterator[None]:
    """Turn what a person can mend into a message that says what to do, and the exit code that goes with it."""
    try:
        yield
    except (EngineError, AuthorityError) as error:
        exit_code, told = _explained(error)
        if as_json:
            typer.echo(json.dumps({"success": False, "error": told}, indent=2))
        else:
            print(f"error: {told['message']}", file=sys.stderr)
            for item in told.get("details", []):
                print(f"  {item.get('item')}: {item.get('detail')}", file=sys.stderr)
            print(f"hint: {told['hint']}", file=sys.stderr)
        raise typer.Exit(exit_code) from None


def show(answer: BaseModel | dict[str, Any]) -> None:
    """Print an answer as JSON: the body of the HTTP API's answer, with `success`."""
    body = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
    typer.echo(json.dumps({"success": True} | body, indent=2))


def number(text: str) -> Decimal:
    """Return what was typed as a number; refuse it plainly when it is none."""
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is not a number.") from error
    if not value.is_finite():
        raise typer.BadParameter(f"{text!r} is not a number.")
    return value


def asked(given: str | None, option: str, *, hidden: bool = False) -> str:
    """Return what was given, or ask for it at a terminal.

    Raises
    ------
    ConfigError when nobody sits there to be asked
    """
    if given:
        return given
    if not sys.stdin.isatty():
        variable = _VARIABLES.get(option)
        way = f"set {variable}, or give it as an option" if variable else "give it as an option"
        raise ConfigError(f"{option} is missing and nobody can be asked: {way}")
    return str(typer.prompt(option.removeprefix("--").capitalize(), hide_input=hidden))


def _explained(error: Exception) -> tuple[Exit, dict[str, Any]]:
    found = ((end, hint) for kind, end, hint in _ENDS if isinstance(error, kind))
    end, hint = next(found, (Exit.FAULT, "Look at the engine's log."))
    code = getattr(error, "code", None) or _code_of(type(error))
    told = {"code": str(code), "message": str(error), "hint": getattr(error, "hint", None) or hint}
    details = getattr(error, "details", None)
    return end, told | ({"details": details} if details else {})


def _code_of(kind: type[Exception]) -> str:
    """Return an error's name as the codes are written: ConfigError is CONFIG_ERROR."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).upper()
