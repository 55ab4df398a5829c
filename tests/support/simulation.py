"""Seeded simulation: the engine's own services on a virtual clock, with a broker and a database that fail at random.

One seed decides everything: which faults there are, how often they strike, what is asked for and when. The engine
dies at any call and starts again with nothing but what the database knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import structlog

from engine.domain.book import Order, OrderState
from engine.domain.broker_types import MarketTime
from engine.domain.coverage import protected_qty
from engine.domain.errors import Retryable
from engine.domain.recompute import recompute
from engine.domain.reconcile import compare_positions, held_by
from engine.domain.requests import entry_id
from engine.service.exit_desk import ExitDesk
from engine.service.order_sync import OrderSync
from engine.service.position_monitor import PositionMonitor
from engine.service.reconciler import Reconciler
from engine.service.settlement import Settlement
from engine.service.trade_executor import TradeExecutor
from engine.service.views import Book
from tests.support.sim_authority import SimAuthority
from tests.support.sim_broker import OVER, Chances, Killed, SimBroker
from tests.unit.engine.builders import NOON, a_profile, an_order
from tests.unit.engine.fakes import FakeAuthority, ManualClock, a_control, a_health, a_lease

QUIET_S: Final = 3.0
STEPS: Final = 50
RECONCILE_EVERY: Final = 15  # turns
SETTLE_TURNS: Final = 300
SYMBOLS: Final = ("AAPL", "MSFT")
# Each seed takes some of these, each with a likelihood of its own up to this.
FAULTS: Final = {
    "lost before": 0.3, "lost after": 0.4, "504 after": 0.3, "busy": 0.3, "late": 0.3, "hidden": 0.3, "rejected": 0.1,
    "partial": 0.6, "cancel ignored": 0.3, "cancel too late": 0.2, "broker away": 0.1, "killed": 0.01,
    "authority lost before": 0.08, "authority lost after": 0.08,
}  # fmt: skip


class Engine:
    """What one process holds; another one begins with nothing of it."""

    def __init__(self, world: Simulation) -> None:
        broker, desk, clock = world.broker, world.authority, world.clock
        self.world = world
        self.health = a_health(clock, world.folder)
        self.lease = a_lease(FakeAuthority(), self.health, clock)
        self.book = Book(desk, clock, age_max_s=0.4)
        self.sync = OrderSync(broker, desk, self.book)
        self.settlement = Settlement(broker, desk, self.book, self.health, clock, quiet_s=QUIET_S)
        self.monitor = PositionMonitor(broker, desk, ExitDesk(desk, self.book, clock), self.book, clock)  # type: ignore[arg-type]
        self.executor = TradeExecutor(broker, desk, self.book, self.sync, self.health, self.lease, clock, senders=1)
        self.reconciler = Reconciler(broker, broker, desk, self.sync, self.book, self.health, clock, quiet_s=QUIET_S)
        self.turns = 0
        self.is_recovered = False

    def turn(self) -> None:
        """Run every job once, in the order that the seed draws; a job that fails is tried again at the next turn."""
        self._beat()
        if not self.is_recovered:
            self.is_recovered = self._tried(self._recover)
            return
        market = self.world.market
        self.turns += 1
        jobs: list[Callable[[], object]] = [
            lambda: self.sync.run(market),
            self.settlement.run,
            lambda: self.monitor.run(market),
            self.executor.submit_ready,
            self._enter,
        ]
        if self.turns % RECONCILE_EVERY == 0:
            jobs.append(lambda: self.reconciler.run(market, "full"))
        self.world.rng.shuffle(jobs)
        for job in jobs:
            self._tried(job)

    def _enter(self) -> None:
        """Put what the strategy wants to the gate, which may give it its permit at once; once, however that ends."""
        while self.world.wishes:
            wish = self.world.wishes.pop()
            self.executor.submit_asked(lambda permits, wish=wish: self.world.authority.enter(wish, permits))

    def _recover(self) -> None:
        self.settlement.run_after_restart()
        self.reconciler.run(self.world.market, "full")

    def _beat(self) -> None:
        self.lease.beat(None)
        control = replace(a_control(), checked_at=self.world.clock.now())
        self.health.record_trading_control(control)

    def _tried(self, job: Callable[[], object]) -> bool:
        with suppress(Retryable):
            job()
            return True
        return False


class Simulation:
    """One seed's world."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.clock = ManualClock()
        swarm = {fault: self.rng.uniform(0, most) for fault, most in FAULTS.items() if self.rng.random() < 0.5}
        self.chances = Chances(self.rng, swarm)
        self.broker = SimBroker(self.clock, self.chances, {symbol: Decimal(100) for symbol in SYMBOLS})
        self.authority = SimAuthority(self.clock, self.chances, (a_profile(symbols=SYMBOLS, params={}),))
        self.wishes: list[Order] = []
        self.deaths = 0
        self.engine = Engine(self)

    @property
    def market(self) -> MarketTime:
        return MarketTime(NOON, is_open=True)

    def run(self) -> list[str]:
        """Run the story, let it settle, and return what does not hold."""
        for _ in range(STEPS):
            self._happen()
            self._turn()
        self.chances.of = {}
        self.broker.chances = self.chances
        for turn in range(SETTLE_TURNS):
            self._turn()
            if turn % 5 == 4 and not self.broker.coming and not self.problems():
                break
        return self.problems()

    def problems(self) -> list[str]:
        books = self.authority.look()
        return [
            *self.authority.breaches,
            *self.broker.breaches,
            *self._intents(),
            *self._apart(),
            *self._capital(),
            *(f"I10 {found.detail} of {found.symbol}"
              for found in compare_positions(held_by(books), self.broker.positions())),
            *self._sums(),
            *(f"unprotected: {t}" for t in books.trades if not t.exit_working and protected_qty(t) < t.qty),
        ]  # fmt: skip

    def _happen(self) -> None:
        chance = self.rng.random()
        if chance < 0.12:
            self.authority.ask(self._entry())
        elif chance < 0.25:
            self.wishes.append(self._entry())
        elif chance < 0.28:
            self.authority.pause()
        elif chance < 0.36:
            self.authority.paused = False

    def _entry(self) -> Order:
        symbol = self.rng.choice(SYMBOLS)
        price = self.broker.prices[symbol]
        id = entry_id(profile_id="profile", symbol=symbol, side="buy", bar_at=self.clock.now())
        return an_order(
            id=id, symbol=symbol, trade_id=id, qty=Decimal(self.rng.randint(1, 20)), broker_order_id=None,
            broker_status=None, limit_price=price * Decimal("1.01"), stop_loss_price=price * Decimal("0.95"),
            take_profit_price=price * Decimal("1.05"), state=OrderState.READY,
        )  # fmt: skip

    def _turn(self) -> None:
        self.clock.sleep(self.rng.uniform(0.3, 1.5))
        self.broker.tick()
        try:
            self.engine.turn()
        except Killed:
            self.deaths += 1
            self.engine = Engine(self)

    def _intents(self) -> Iterator[str]:
        """I3 and I4: each order at the broker is one that was asked for, once; none of ours is left open-ended."""
        own = [order for id, order in self.broker.orders.items() if id not in self.broker.parents]
        for order in own:
            if order.client_order_id not in self.authority.orders:
                yield f"I3 nobody asked for {order}"
        for ours in self.authority.orders.values():
            if ours.state.is_unsettled or ours.state is OrderState.READY:
                yield f"I4 not settled: {ours}"

    def _apart(self) -> Iterator[str]:
        ours = {order.broker_order_id: order for order in self.authority.orders.values() if order.broker_order_id}
        for id, theirs in self.broker.orders.items():
            if id not in ours:
                yield f"I10 nobody knows {theirs}"
            elif ours[id].filled_qty != theirs.filled_qty or ours[id].state.is_open != (theirs.status not in OVER):
                yield f"I10 {theirs} is {ours[id].state} with {ours[id].filled_qty} filled in our books"

    def _capital(self) -> Iterator[str]:
        kept = {id for id, usd in self.authority.reserved_usd.items() if usd}
        for id in kept:
            if not self.authority.orders[id].state.is_open:
                yield f"I5 {id} is over and reserves {self.authority.reserved_usd[id]}"

    def _sums(self) -> Iterator[str]:
        """I12: the trades are the sums of their fills."""
        open_trades = {trade.trade_id: trade for trade in self.authority.look().trades}
        for id, sums in recompute(self.authority.fills).items():
            held = open_trades[id].qty if id in open_trades else Decimal(0)
            if sums.qty_open != held:
                yield f"I12 {id}: {held} held, and its fills say {sums.qty_open}"


@contextmanager
def silence() -> Iterator[None]:
    """Take the log away: thousands of seeds have nothing to say while they run."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
