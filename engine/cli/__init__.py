"""The command line: run the engine, control trading, ask why, pull the local brake, hold a drill, replay history."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from engine.cli.brake import brake
from engine.cli.control import halt, pause, resume, status, why
from engine.cli.drill import drill
from engine.cli.output import plain_errors
from engine.config import load_settings
from engine.logs import configure_logs

app = typer.Typer(
    help="The Interlock engine. Without a command it runs until it is stopped.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: Final[tuple[tuple[Callable[..., Any], str], ...]] = (
    (status, "python -m engine status --json"),
    (why, "python -m engine why AAPL --side buy --qty 10"),
    (pause, 'python -m engine pause --reason "earnings" --symbol AAPL --resume-at 2026-01-05T15:00+00:00'),
    (resume, 'python -m engine resume --reason "all clear" --stage-entries 5 --stage-fraction 0.25'),
    (halt, 'python -m engine halt --reason "runaway strategy"'),
    (brake, 'python -m engine brake on --reason "database unreachable"'),
    (drill, "python -m engine drill --yes --json"),
)
for _command, _example in _COMMANDS:
    app.command(epilog=f"Example: {_example}")(_command)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    upgrade_db: Annotated[
        bool, typer.Option("--upgrade", "--upgrade-db", help="Bring an older database up to date first.")
    ] = False,
) -> None:
    """Run the engine until it is stopped. Nobody signs in for that: the engine has keys of its own."""
    if context.invoked_subcommand is not None:
        return
    configure_logs()
    with plain_errors():
        from engine.main import main

        raise typer.Exit(main(upgrade=True) if upgrade_db else main())


@app.command(epilog="Example: ALERT_URLS=mailto://... python -m engine watch")
def watch() -> None:
    """Look at the alerts and deliver them beside the engines: somebody has to tell when the last one is dead."""
    configure_logs()
    with plain_errors():
        from engine.watch import watch

        settings = load_settings()
        configure_logs(secrets=settings.secret_values)
        watch(settings)


@app.command(epilog="Example: python -m engine replay --sessions 250")
def replay(
    sessions: Annotated[int, typer.Option(min=1, help="Stop when this many sessions are complete.")] = 250,
) -> None:
    """Fast-forward the paper exchange with the engine's real decisions, then let it run."""
    configure_logs(logging.WARNING)
    with plain_errors():
        from engine import bootstrap, replay

        # One sender: the exchange numbers orders as they come, and history should repeat itself.
        settings = load_settings().model_copy(update={"engine_senders": 1})
        configure_logs(logging.WARNING, settings.secret_values)
        replay.replay(bootstrap.bootstrap(settings, view_age_max_s=float("inf")), sessions)
