"""The engine's main path: configure, wire, serve, recover, then run the jobs until told to stop."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import Final

import structlog

from engine.api import serve
from engine.bootstrap import Engine, bootstrap
from engine.config import load_settings
from engine.domain.errors import AuthorityUnavailable, LeaseLost
from engine.jobs import Jobs, job_table
from engine.logs import configure_logs

EXIT_STOPPED: Final = 0
EXIT_TAKEN_OVER: Final = 3
log = structlog.get_logger(__name__)


def main() -> int:
    """Run the engine; return the process's exit code.

    Raises
    ------
    NeedsHuman with a message for the operator when it cannot start
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = load_settings()
    configure_logs(secrets=settings.secret_values)
    engine = bootstrap(settings)
    with serve(engine):
        while engine.recovery.run(stop.is_set):
            kept = Jobs(job_table(engine), engine.health, stop).run()
            engine.hints.stop()  # an account has one listener: whoever holds the lease
            if kept:
                _give_back_lease(engine)
                break
            if _is_taken_over(engine):
                log.error("another engine has taken over, stopping")
                return EXIT_TAKEN_OVER
    log.info("stopped")
    return EXIT_STOPPED


def _is_taken_over(engine: Engine) -> bool:
    """Tell a lease that another engine has from one that ran out while the authority was away."""
    with suppress(AuthorityUnavailable):
        return not engine.lease.try_acquire()
    return False


def _give_back_lease(engine: Engine) -> None:
    with suppress(AuthorityUnavailable, LeaseLost):  # it runs out by itself
        engine.lease.release()
