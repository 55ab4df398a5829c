"""The engine's main path: configure, wire, serve, recover, then run the jobs until told to stop."""

from __future__ import annotations

import gc
import os
import signal
import threading
from contextlib import suppress
from typing import Final

import structlog

from engine.adapters import systemd
from engine.api import serve
from engine.bootstrap import Engine, bootstrap
from engine.config import load_settings
from engine.domain.errors import AuthorityUnavailable, LeaseLost, Refused
from engine.jobs import Jobs, job_table
from engine.logs import configure_logs
from engine.service.progress import Progress

EXIT_STOPPED: Final = 0
EXIT_TAKEN_OVER: Final = 3
EXIT_STUCK: Final = 4
# A stop finishes what is in flight: no call to the broker or the database takes longer than this.
STOP_WITHIN_S: Final = 20.0
COLLECT_AFTER: Final = (20_000, 10, 10)  # objects made, and how many rounds make a longer one
log = structlog.get_logger(__name__)


def main(*, upgrade: bool = False) -> int:
    """Run the engine; return the process's exit code.

    Parameters
    ----------
    upgrade : bring an older database up to date first

    Raises
    ------
    NeedsHuman with a message for the operator when it cannot start
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = load_settings()
    if upgrade:
        settings = settings.model_copy(update={"engine_upgrade_db": True})
    configure_logs(secrets=settings.secret_values)
    engine = bootstrap(settings)
    collect_seldom()
    with serve(engine):
        for keeper in (_stop_in_time, _feed_watchdog):
            threading.Thread(target=keeper, args=(engine, stop), name=keeper.__name__, daemon=True).start()
        return _trade(engine, stop)


def collect_seldom() -> None:
    """Let the garbage collector pass over what lives as long as the process, and come less often.

    A snapshot's thousands of orders set it off many times over, which took a third of the time of reading one.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _trade(engine: Engine, stop: threading.Event) -> int:
    systemd.notify(systemd.READY, "STATUS=Recovering, or waiting for another engine's lease to end.")
    while not _runs_to_the_end(engine, stop):
        if _is_taken_over(engine):
            log.error("another engine has taken over, stopping")
            return EXIT_TAKEN_OVER
    log.info("stopped")
    return EXIT_STOPPED


def _runs_to_the_end(engine: Engine, stop: threading.Event) -> bool:
    """Recover and run the jobs until told to stop; False when the lease was lost meanwhile."""
    engine.health.expect_no_jobs()  # those of before have ended; a recovery is judged by its own turns
    try:
        if not engine.recovery.run(stop.is_set):
            return True
    except LeaseLost as error:
        log.error("lease lost while recovering", error=str(error))
        return False
    systemd.notify(f"STATUS=Trading for shard {engine.settings.engine_shard}.")
    kept = Jobs(job_table(engine), engine.health, stop).run()
    engine.hints.stop()  # an account has one listener: whoever holds the lease
    if kept:
        _give_back_lease(engine)
    return kept


def _stop_in_time(engine: Engine, stop: threading.Event) -> None:
    """Once told to stop: entries not yet sent are handed back, the rest is finished, and never for ever."""
    stop.wait()
    systemd.notify(systemd.STOPPING, "STATUS=Finishing what is in flight.")
    engine.health.is_stopping = True
    threading.Event().wait(STOP_WITHIN_S)
    log.error("could not stop in time; the next engine looks up what was in flight", within_s=STOP_WITHIN_S)
    os._exit(EXIT_STUCK)


def _feed_watchdog(engine: Engine, stop: threading.Event) -> None:
    """Tell systemd that the work comes round; once some of it hangs, say so and let it restart the engine."""
    limit_s = systemd.watchdog_s()
    if limit_s is None:
        return
    progress = Progress(engine.health, lambda: engine.recovery.is_turning, engine.clock)
    while not stop.wait(limit_s / 3):
        stuck = progress.stuck()
        if stuck:
            log.error("no run of these jobs ends, the watchdog is not fed", jobs=stuck)
            systemd.notify(f"STATUS=Stuck: {', '.join(stuck)}.")
        else:
            systemd.notify(systemd.ALIVE)


def _is_taken_over(engine: Engine) -> bool:
    """Tell a lease that another engine has from one that ran out while the authority was away."""
    with suppress(AuthorityUnavailable, Refused):
        return not engine.lease.try_acquire()
    return False


def _give_back_lease(engine: Engine) -> None:
    with suppress(AuthorityUnavailable, LeaseLost, Refused):  # it runs out by itself
        engine.lease.release()
