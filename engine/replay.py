"""Replay: fast-forward the paper exchange with the engine making its real decisions at every step."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine.adapters.sim_clock import SimClock, SimTime
from engine.bootstrap import Engine
from engine.domain.book import OrderState
from engine.domain.broker_types import MarketTime
from engine.domain.errors import ConfigError

STEP_MINUTES: Final = 60
STEP: Final = timedelta(minutes=STEP_MINUTES)
HEARTBEAT_EVERY_S: Final = 2.0
GC_THRESHOLD: Final = 50_000  # a batch of a minute need not collect often: a tenth of its time
log = structlog.get_logger(__name__)


class Replay:
    """The same services as live, in the same order, on stepped instead of running time."""

    def __init__(self, engine: Engine, sim: SimClock) -> None:
        self._engine = engine
        self._sim = sim
        # Fetches bars from the exchange while the sync talks to the database.
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="bars")
        self._beaten_s = float("-inf")

    def run(self, sessions: int, on_session: Callable[[int], None]) -> int:
        """Replay until the exchange has completed `sessions`; continues where it stopped before."""
        time = self._sim.read()
        while time.sessions_elapsed < sessions and time.sessions_left > 0:
            time = self._session(time)
            on_session(time.sessions_elapsed)
        self._engine.snapshots.save_state(time.market)
        return time.sessions_elapsed

    def _session(self, time: SimTime) -> SimTime:
        """Step hour by hour to the session's close, the early ones too."""
        time = self._sim.step_minutes(STEP_MINUTES)
        self._act(time.market)
        closes_at = self._engine.market.read().closes_at
        while closes_at is not None and time.market.now + STEP < closes_at:
            time = self._sim.step_minutes(STEP_MINUTES)
            self._act(time.market)
        time = self._sim.step_to_close()
        self._act(time.market, at_close=True)
        self._engine.snapshots.record_equity(time.market)
        self._engine.history.record()
        return time

    def _act(self, market: MarketTime, *, at_close: bool = False) -> None:
        engine = self._engine
        self._beat(market)
        fetching = self._helper.submit(engine.trader.refresh, market)
        engine.sync.run(market)
        fetching.result()
        cared_for = engine.monitor.run(market) if at_close else engine.monitor.run_urgent(market)
        engine.trader.tick(market)
        if cared_for or any(order.state is OrderState.READY for order in engine.book.read().orders):
            engine.executor.submit_ready()
        # Time stands still until the next step, which begins with a sync: none is needed here.

    def _beat(self, market: MarketTime) -> None:
        now_s = self._engine.clock.monotonic_s()
        if now_s - self._beaten_s >= HEARTBEAT_EVERY_S:
            self._engine.lease.beat(market)
            self._engine.settlement.run()
            self._beaten_s = now_s


def replay(engine: Engine, sessions: int) -> None:
    """Fast-forward with a progress bar, then let the market run.

    Raises
    ------
    ConfigError when there is no paper exchange to fast-forward
    """
    token = engine.settings.exchange_admin_token
    if token is None or not engine.settings.broker_is_local:
        raise ConfigError("replay needs the local paper exchange: EXCHANGE_ADMIN_TOKEN is not set.")
    sim = SimClock(base_url=engine.settings.alpaca_base_url, admin_token=token.get_secret_value())
    time = sim.read()
    if not time.is_stepping:
        log.info("the market runs already, nothing to fast-forward", sessions=time.sessions_elapsed)
        return
    if not engine.recovery.run(should_stop=lambda: False):
        return
    gc.set_threshold(GC_THRESHOLD)
    try:
        with _progress() as progress:
            task = progress.add_task("Replaying market history", total=sessions, completed=time.sessions_elapsed)
            Replay(engine, sim).run(sessions, lambda done: progress.update(task, completed=done))
        sim.let_run()
    finally:
        engine.lease.release()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("sessions"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=False,
    )
