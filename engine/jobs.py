"""The table of jobs: what runs, how often, and after how long without a good run it counts as dead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from structlog.contextvars import bound_contextvars

from engine.bootstrap import Engine
from engine.domain.broker_types import MarketTime
from engine.domain.errors import AuthorityUnavailable, LeaseLost, Retryable
from engine.domain.health import liveness_limit_s
from engine.service import metrics
from engine.service.health_tracker import HealthTracker

LOOK_EVERY_S: Final = 0.1
ALERTS_EVERY_S: Final = 1.0  # with the delivery's half second well within the 5 s that an alert may take
NOTICES_EVERY_S: Final = 0.5
APPROVALS_EVERY_S: Final = 5.0
RETENTION_EVERY_S: Final = 3600.0
TELEMETRY_EVERY_S: Final = 5.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table; seconds of wall time."""

    name: str
    every_s: float
    run: Callable[[], object]

    @property
    def limit_s(self) -> float:
        return liveness_limit_s(self.every_s)


def job_table(engine: Engine) -> list[Job]:
    """Return every job of the engine."""
    market, every = engine.market.read, engine.settings.cadence
    return [
        Job("heartbeat", every.heartbeat_s, lambda: _beat(engine)),
        Job("profile_sync", every.heartbeat_s, engine.book.read),
        Job("order_sync", every.sync_s, lambda: _sync(engine)),
        Job("trade_updates", every.submit_s / 2, engine.hints.catch_up),
        Job("position_monitor", every.monitor_s, lambda: _watch(engine)),
        Job("offline", every.heartbeat_s, lambda: engine.offline.run(market)),
        Job("trade_tick", every.trade_tick_s, lambda: _trade(engine)),
        Job("submit", every.submit_s, engine.executor.submit_ready),
        Job("settlement", every.settle_s, engine.settlement.run),
        Job("session_close", every.trade_tick_s, lambda: engine.snapshots.watch_close(market())),
        Job("snapshots", every.equity_s, lambda: _snapshot(engine)),
        Job("recognition", every.settle_s, engine.recognition.run),
        Job("reconcile", every.reconcile_s, lambda: engine.reconciler.run(market(), "incremental")),
        Job("reconcile_full", every.full_reconcile_s, lambda: engine.reconciler.run(market(), "full")),
        Job("protections", 2 * every.trade_tick_s, lambda: engine.protections.run(market())),
        Job("approvals_expiry", APPROVALS_EVERY_S, engine.housekeeping.expire_approvals),
        Job("retention", RETENTION_EVERY_S, engine.housekeeping.prune_history),
        Job("alerts", ALERTS_EVERY_S, engine.alerting.evaluate),
        Job("notices", NOTICES_EVERY_S, engine.alerting.deliver),
        Job("telemetry", TELEMETRY_EVERY_S, engine.telemetry.run),
    ]


class Jobs:
    """The running table. A late job runs once, never in a burst, and never beside itself."""

    def __init__(self, table: Sequence[Job], health: HealthTracker, stop: threading.Event) -> None:
        self._table = table
        self._health = health
        self._stop = stop
        self._lease_lost = False
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(len(table))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job in table:
            trigger = IntervalTrigger(seconds=job.every_s, timezone="UTC")
            self._scheduler.add_job(self._run, trigger, args=[job], id=job.name)

    def run(self) -> bool:
        """Run the table until told to stop; False when the lease was lost instead."""
        for job in self._table:
            self._health.expect_job(job.name, job.limit_s)
        self._scheduler.start()
        while not self._lease_lost and not self._stop.wait(LOOK_EVERY_S):
            pass
        self._scheduler.shutdown(wait=True)
        return not self._lease_lost

    def _run(self, job: Job) -> None:
        """Run one job; the engine's one place that catches everything, so that a bug in one job
        is recorded and leaves the others running."""
        if self._lease_lost or self._stop.is_set():
            return
        metrics.JOB_LAG.labels(job.name).set(self._health.job_began(job.name, job.every_s))
        with bound_contextvars(job=job.name):
            self._run_now(job)

    def _run_now(self, job: Job) -> None:
        try:
            with metrics.JOB_DURATION.labels(job.name).time():
                job.run()
        except LeaseLost as error:
            log.error("lease lost, stopping", error=str(error))
            self._lease_lost = True
        except Retryable as error:
            if self._note_failure(job, error):  # an absence of hours is a line, not a flood
                log.warning("job will be tried again", error=str(error))
        except Exception as error:
            log.exception("job failed")
            self._note_failure(job, error)
        else:
            self._health.job_done(job.name)
            metrics.JOB_RUNS.labels(job.name, "done").inc()

    def _note_failure(self, job: Job, error: Exception) -> bool:
        metrics.JOB_RUNS.labels(job.name, "failed").inc()
        return self._health.job_failed(job.name, error)


def _beat(engine: Engine) -> None:
    # The lease must be renewed whether or not the market can be read.
    engine.lease.beat(engine.market.last, engine.market.age_s)
    if engine.book.last is not None:
        metrics.OPEN_TRADES.set(len(engine.book.last.trades))


def _sync(engine: Engine) -> None:
    market = engine.market.read()
    engine.sync.run(market)
    if engine.sync.has_late:  # it is raised at once, not at the next reconciliation
        engine.reconciler.run(market, "incremental")


def _trade(engine: Engine) -> None:
    if engine.health.brake_is_on:
        return
    market = engine.market.read()
    engine.trader.tick(market, may_enter=_closed_trades_are_heeded(engine, market))
    engine.history.record()


def _closed_trades_are_heeded(engine: Engine, market: MarketTime) -> bool:
    """Tell whether lockouts after closed trades are set, before which nothing is entered; exits do not wait for it."""
    try:
        engine.protections.heed_exits(market)
    except AuthorityUnavailable:
        return False
    return True


def _watch(engine: Engine) -> None:
    if engine.monitor.run(engine.market.read()):
        with suppress(AuthorityUnavailable):  # without it they were sent already
            engine.executor.submit_ready()


def _snapshot(engine: Engine) -> None:
    market = engine.market.read()
    engine.snapshots.record_equity(market)
    engine.snapshots.save_state(market)
