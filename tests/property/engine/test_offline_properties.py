"""Exits without the authority: whatever happens in whatever order, no share is sold twice and nothing is lost."""

import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.domain.book import Order, OrderState, Purpose
from engine.domain.errors import BrokerUnavailable
from engine.domain.requests import ExitRequest, exit_id
from engine.service.journal import Journal
from engine.service.offline_desk import OfflineDesk
from engine.service.views import Book
from tests.support.paper_broker import NOW, PaperBroker
from tests.unit.engine.builders import a_snapshot, protected_trade
from tests.unit.engine.fakes import FakeAuthority, ManualClock, a_health

TEN = Decimal(10)
TRADES = ("one", "two")
ENGINES = (0, 1)

steps = st.one_of(
    st.tuples(st.just("close"), st.sampled_from(ENGINES), st.sampled_from(TRADES)),
    st.tuples(st.just("close"), st.sampled_from(ENGINES), st.sampled_from(TRADES)),
    st.tuples(st.just("crash"), st.sampled_from(ENGINES), st.none()),
    st.tuples(st.just("tell"), st.sampled_from(ENGINES), st.none()),
    st.tuples(st.just("fill"), st.integers(1, 10), st.sampled_from(TRADES)),
    st.tuples(st.just("cancel"), st.none(), st.sampled_from(TRADES)),
    st.tuples(st.just("stop fills"), st.integers(1, 10), st.sampled_from(TRADES)),
    st.tuples(st.sampled_from(["lose answers", "refuse", "cancels come late", "broker back"]), st.none(), st.none()),
)


class World:
    """Two trades of ten shares of one symbol, and two engines that are both cut off from the authority."""

    def __init__(self, home: Path) -> None:
        self.broker, self.clock, self.ledger = PaperBroker(), ManualClock(), FakeAuthority()
        self.told: dict[str, str] = {}
        self.ledger.record_offline_exits = self.hear  # type: ignore[attr-defined]
        self.trades = tuple(self.hold(name) for name in TRADES)
        self.snapshot = a_snapshot(trades=self.trades, orders=tuple(leg for t in self.trades for leg in t.legs))
        self.homes = [home / str(engine) for engine in ENGINES]
        self.attempts = [dict.fromkeys(TRADES, 0) for _ in ENGINES]
        self.journals: list[Journal | None] = [None, None]
        self.desks = [self.start(engine) for engine in ENGINES]

    def hold(self, name):
        def own(leg: Order) -> Order:
            return replace(
                leg, id=f"{name}-{leg.id}", trade_id=name, parent_id=name, broker_order_id=f"{name}-{leg.id}"
            )

        trade = protected_trade(trade_id=name)
        trade = replace(trade, legs=tuple(own(leg) for leg in trade.legs))
        for leg in trade.legs:
            self.broker.rest(leg)
        self.broker.held["AAPL"] = self.broker.held.get("AAPL", Decimal(0)) + TEN
        return trade

    def hear(self, exits):
        self.told |= {exit_.id: answer.outcome for exit_, answer in exits}

    def start(self, engine: int) -> OfflineDesk:
        earlier = self.journals[engine]
        if earlier is not None:
            earlier._close()
        health = a_health(self.clock, self.homes[engine])
        journal = self.journals[engine] = Journal(self.homes[engine] / "journal.log", self.clock, health.note_disk)
        desk = OfflineDesk(
            self.broker, self.ledger, self.ledger, journal, Book(self.ledger, self.clock, age_max_s=0), health,
            self.clock, is_away=lambda: True,
        )  # fmt: skip
        desk.start_from(self.snapshot)
        return desk

    def close(self, engine: int, name: str) -> None:
        attempts = self.attempts[engine]
        wish = ExitRequest(
            id=exit_id(trade_id=name, purpose=Purpose.EXIT, attempt=attempts[name]),
            trade_id=name, exit_reason="stop_loss", reason="through", market_at=NOW,
        )  # fmt: skip
        try:
            (answer,) = self.desks[engine].request_exits([wish])
        except BrokerUnavailable:
            return
        attempts[name] += not answer.state.is_open and answer.state is not OrderState.DENIED

    def act(self, what: str, which, name) -> None:
        self.clock.sleep(2)
        match what:
            case "close":
                self.close(which, name)
            case "crash":
                self.desks[which] = self.start(which)
                self.attempts[which] = dict.fromkeys(TRADES, 0)
            case "tell":
                self.desks[which].replay()
            case "fill":
                for id in self.exits_of(name):
                    self.broker.fill(id, Decimal(which))
            case "cancel":
                for id in self.exits_of(name):
                    self.broker.cancel(f"broker-{id}") if not self.broker.is_away else None
            case "stop fills":
                self.broker.fill(f"{name}-stop_loss", Decimal(which))
            case "cancels come late":
                self.broker.fills_what_is_cancelled = True
            case "lose answers":
                self.broker.loses_answers = True
            case "refuse":
                self.broker.refuses = True
            case "broker back":
                self.broker.is_away = self.broker.loses_answers = self.broker.refuses = False
                self.broker.fills_what_is_cancelled = False

    def exits_of(self, name: str) -> list[str]:
        ids = (exit_id(trade_id=name, purpose=Purpose.EXIT, attempt=n) for n in range(40))
        return [id for id in ids if id in self.broker.orders]

    def check(self) -> None:
        for name in TRADES:
            legs = [f"{name}-stop_loss", f"{name}-take_profit"]
            mine = [self.broker.orders[id] for id in (*self.exits_of(name), *legs)]
            assert sum(order.filled_qty for order in mine) <= TEN, f"{name} was sold twice"
            exits = [order for order in mine[:-2] if order.is_open]
            assert len(exits) <= 1, f"two exits of {name} work at once"
        derived = {id for name in TRADES for id in (*self.exits_of(name), f"{name}-stop_loss", f"{name}-take_profit")}
        assert set(self.broker.orders) == derived, "every order can be recognised"
        assert self.broker.held["AAPL"] >= 0


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=3, max_size=20))
def test_no_share_is_sold_twice_and_every_exit_is_told(history):
    with tempfile.TemporaryDirectory() as home, patch("os.fsync"):  # no machine crashes here, processes do
        world = World(Path(home))
        for step in history:
            world.act(*step)
            world.check()

        world.act("broker back", None, None)
        for engine in ENGINES:
            world.start(engine).replay()
        sent = {id for name in TRADES for id in world.exits_of(name)}
        assert sent <= set(world.told), "what reached the broker was told"
