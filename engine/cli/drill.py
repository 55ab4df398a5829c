"""drill: stop trading for real, in paper mode, and write down whether what is promised about it held."""

from __future__ import annotations

import json
import logging
import platform
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import typer

from engine import __version__
from engine.adapters.drill_desk import PersonsDrillDesk
from engine.adapters.system_clock import SystemClock
from engine.cli.account import Email, Password, Person, signed_in
from engine.cli.output import AsJson, Exit, plain_errors
from engine.config import Settings, load_settings
from engine.domain.errors import ConfigError, Refused
from engine.logs import configure_logs
from engine.service.drill import Drill, Plan
from engine.service.drill_report import Report

LIVE_HOST: Final = "api.alpaca.markets"
INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AROUND_THE_HOLD_S: Final = 300.0  # what the rest of a drill takes at most, and putting back what was before
WARNING: Final = (
    "This stops paper trading for real: entries that wait or rest are cancelled, and the smallest open position is"
    " closed to see an exit pass. What was before is put back at the end."
)


def drill(
    pause: Annotated[bool, typer.Option("--pause", help="Pause only; without it, halt first and then pause.")] = False,
    hold: Annotated[float, typer.Option(min=0, max=3600, help="Watch for so many seconds that no entry follows.")] = 5,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; LOCAL_HOME/drills if left out.")] = None,
    email: Email = None,
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """Stop paper trading, measure how fast that is, see that exits pass, put it back, write a report. Admins only."""
    configure_logs(logging.CRITICAL)  # what is said here is the drill's own
    with plain_errors(as_json):
        settings = load_settings()
        if urlsplit(settings.alpaca_base_url).hostname == LIVE_HOST:
            raise Refused("LIVE", "The broker's account is a live one.", "Drills are for paper trading only.")
        _confirm(yes)
        person = signed_in(email, password)
        _require_time(person, hold)
        report = _run(settings, person, halts=not pause, hold_s=hold, tell=_teller(as_json))
        files = _written(report, out or settings.local_home / "drills")
    _end(report, files, as_json)


def _run(settings: Settings, person: Person, *, halts: bool, hold_s: float, tell: Callable[[str], None]) -> Report:
    from engine.adapters.alpaca_broker import AlpacaBroker  # slow to load: no halt should wait for it

    desk = PersonsDrillDesk(person.client)
    broker = AlpacaBroker(
        base_url=settings.alpaca_base_url,
        api_key=settings.alpaca_api_key.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
    )
    engine = desk.status().engine
    versions = {"drill": __version__, "engine": engine.version or "unknown", "python": platform.python_version()}
    plan = Plan(drill_id=str(uuid4()), who=person.email, versions=versions, halts=halts, hold_s=hold_s)
    report = Drill(desk, broker, SystemClock(), plan, _interrupt_flag(), tell).run()
    _ignore_interrupts()
    return report


def _interrupt_flag() -> threading.Event:
    """Turn signals into a flag, so that nothing but a kill keeps the drill from putting back what was before."""
    interrupt = threading.Event()
    for number in INTERRUPTS:
        signal.signal(number, lambda *_: interrupt.set())
    return interrupt


def _ignore_interrupts() -> None:
    """Let an impatient second Ctrl-C spoil neither the report nor the exit code: the process ends at once anyway."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def _require_time(person: Person, hold_s: float) -> None:
    """Refuse a drill that would outlast its sign-in: nothing could be put back after that."""
    left_s = person.signed_in_until - SystemClock().now().timestamp()
    if left_s < hold_s + AROUND_THE_HOLD_S:
        longest_s = max(0, int(left_s - AROUND_THE_HOLD_S))
        raise Refused(
            "TOO_LONG",
            f"A sign-in lasts {left_s / 60:.0f} minutes here, too short to drill and to put everything back.",
            f"Choose a --hold of at most {longest_s} seconds.",
        )


def _confirm(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("--yes is missing and nobody can be asked: give it to run the drill")
    typer.echo(WARNING, err=True)
    if not typer.confirm("Run the drill?", err=True):
        raise Refused("CANCELLED", "No drill was run.", "Nothing was changed.")


def _teller(as_json: bool) -> Callable[[str], None]:
    return lambda line: typer.echo(line, err=as_json)


def _written(report: Report, folder: Path) -> dict[str, str]:
    """Keep the report twice, for people and for programs; return the paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"{report.began_at:%Y%m%dT%H%M%SZ}-{report.kind}"
        page, values = stem.with_suffix(".md"), stem.with_suffix(".json")
        page.write_text(report.as_markdown(), encoding="utf-8")
        values.write_text(json.dumps(report.as_values(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        print(report.as_markdown(), file=sys.stderr)
        raise ConfigError(
            f"the report cannot be written to {folder} ({error.strerror}): choose another --out"
        ) from None
    return {"markdown": str(page), "json": str(values)}


def _end(report: Report, files: dict[str, str], as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"success": report.passed, "report": report.as_values(), "files": files}
        if not report.passed:
            hint = f"Read {files['markdown']}, settle it, and run the drill again."
            told["error"] = {"code": "NOT_HELD", "message": report.verdict, "hint": hint}
        typer.echo(json.dumps(told, indent=2))
    else:
        typer.echo(report.verdict, err=not report.passed)
        typer.echo(f"Report: {files['markdown']}")
    if report.interrupted:
        raise typer.Exit(Exit.INTERRUPTED)
    if not report.passed:
        raise typer.Exit(Exit.NOT_HELD)
