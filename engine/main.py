"""The engine's main path: configure, wire, serve, recover, then run the jobs until told to stop."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import Final

import structlog

from engine.api import serve
from engine.bootstrap import bootstrap
from engine.config import load_settings
from engine.domain.errors import AuthorityUnavailable, LeaseLost
from engine.jobs import Jobs, job_table

EXIT_STOPPED: Final = 0
EXIT_LEASE_LOST: Final = 3
log = structlog.get_logger(__name__)


def main() -> int:
    """Run the engine; return the process's exit code.

    Raises
    ------
    NeedsHuman with a message for the operator when it cannot start
    """
    engine = bootstrap(load_settings())
    stop = threading.Event()
    jobs = Jobs(job_table(engine), engine.health)

    def stop_all(*_: object) -> None:
        stop.set()
        jobs.stop()

    signal.signal(signal.SIGTERM, stop_all)
    signal.signal(signal.SIGINT, stop_all)
    with serve(engine):
        if not engine.recovery.run(stop.is_set):
            return EXIT_STOPPED
        kept_lease = jobs.run_until_stopped()
    if not kept_lease:
        return EXIT_LEASE_LOST
    with suppress(AuthorityUnavailable, LeaseLost):  # the lease runs out by itself
        engine.lease.release()
    log.info("stopped")
    return EXIT_STOPPED
