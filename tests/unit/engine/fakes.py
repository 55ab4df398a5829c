"""Small in-memory stand-ins for the ports, for rules that need no real database or broker."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.domain.book import Order, OrderState, Snapshot
from engine.domain.broker_types import Bar, BrokerOrder, BrokerPosition, MarketTime, Quote
from engine.domain.control import ControlMode, TradingControl
from engine.domain.layers.blocked import BlockedEntry
from engine.domain.news import Headline
from engine.domain.requests import Answer, EntryRequest, ExitRequest
from engine.domain.submission import Outcome, Submission
from engine.ports.authority import CancelRequest, Mark, UpdateAnswer
from engine.service.health_tracker import HealthTracker
from engine.service.lease import Lease
from engine.service.local_brake import LocalBrake
from tests.unit.engine.builders import MARKET, a_snapshot, an_order, at_broker

START = datetime(2026, 1, 1, tzinfo=UTC)
NEWS = UpdateAnswer("id", OrderState.WORKING, changed=True, late=False)


class ManualClock:
    """Time moves only when told to; sleeping moves it."""

    def __init__(self) -> None:
        self.passed_s = 1000.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


@dataclass
class FakeBroker:
    """Accepts everything; cancels at once."""

    sent: list[Order] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    known: dict[str, BrokerOrder] = field(default_factory=dict)
    open: list[BrokerOrder] = field(default_factory=list)
    answer: Outcome = Outcome.ACCEPTED

    def submit(self, order: Order) -> Submission:
        self.sent.append(order)
        if self.answer is not Outcome.ACCEPTED:
            return Submission(id=order.id, outcome=self.answer)
        return Submission(id=order.id, outcome=self.answer, order=at_broker(order))

    def cancel(self, broker_order_id: str) -> None:
        self.cancelled.append(broker_order_id)

    def order(self, broker_order_id: str, *, urgent: bool = False) -> BrokerOrder | None:
        return self.known.get(broker_order_id)

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = True) -> BrokerOrder | None:
        return next((o for o in self.known.values() if o.client_order_id == client_order_id), None)

    def open_orders(self) -> list[BrokerOrder]:
        return self.open

    def order_pages(
        self, after: datetime | None, *, nested: bool = True, patient: bool = True
    ) -> Iterator[list[BrokerOrder]]:
        yield [order for order in self.known.values() if after is None or order.submitted_at > after]

    def positions(self) -> list[BrokerPosition]:
        return []


@dataclass
class FakeMarketData:
    history: list[Bar] = field(default_factory=list)
    prices: dict[str, Quote] = field(default_factory=dict)
    asked_bars: list[tuple[tuple[str, ...], str, datetime]] = field(default_factory=list)
    articles: list[Headline] = field(default_factory=list)
    asked_news: list[datetime] = field(default_factory=list)

    def clock(self) -> MarketTime:
        return MARKET

    def bars(self, symbols: Iterable[str], timeframe: str, start: datetime) -> list[Bar]:
        wanted = tuple(symbols)
        self.asked_bars.append((wanted, timeframe, start))
        return [b for b in self.history if b.symbol in wanted and b.timeframe == timeframe and b.at >= start]

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        return {symbol: self.prices[symbol] for symbol in symbols if symbol in self.prices}

    def headlines(self, symbols: Iterable[str], start: datetime) -> list[Headline]:
        self.asked_news.append(start)
        return [each for each in self.articles if each.at >= start and set(each.symbols) & set(symbols)]


@dataclass
class FakeAuthority:
    """Desk, store and leases in one; remembers what it was told, answers as it is told to."""

    book: Snapshot = field(default_factory=a_snapshot)
    claimable: list[Order] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    entries: list[EntryRequest] = field(default_factory=list)
    exits: list[ExitRequest] = field(default_factory=list)
    blocked: list[BlockedEntry] = field(default_factory=list)
    cancels: list[CancelRequest] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    updates: list[BrokerOrder] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    saved: list[Mapping[str, Any]] = field(default_factory=list)
    equity: list[datetime] = field(default_factory=list)
    update_answer: UpdateAnswer = NEWS

    def acquire(self, holder: str, ttl_s: int) -> bool:
        return True

    def heartbeat(self, **_: Any) -> TradingControl:
        return a_control()

    def release(self) -> None: ...

    def request_entries(self, requests: Sequence[EntryRequest], *, permits: int = 0) -> list[Answer]:
        self.entries += requests
        answers = self._answers(requests)
        for place, answer in enumerate(answers):
            if answer.state is OrderState.READY and permits > 0:
                answers[place] = replace(answer, state=OrderState.SUBMITTING, permit=a_permit(answer.id))
                permits -= 1
        return answers

    def request_exits(self, requests: Sequence[ExitRequest]) -> list[Answer]:
        self.exits += requests
        return self._answers(requests)

    def request_cancels(self, requests: Sequence[CancelRequest]) -> int:
        self.cancels += requests
        return len(requests)

    def record_blocked(self, entries: Sequence[BlockedEntry]) -> None:
        self.blocked += entries

    def claim(self, *, limit: int = 50, exits_only: bool = False) -> list[Order]:
        claimed, self.claimable = self.claimable[:limit], self.claimable[limit:]
        return claimed

    def record_submissions(self, submissions: Sequence[Submission]) -> None:
        self.submissions += submissions

    def record_updates(self, orders: Sequence[BrokerOrder]) -> list[UpdateAnswer]:
        self.updates += orders
        return [self.update_answer] * len(orders)

    def snapshot(self) -> Snapshot:
        return self.book

    def record_marks(self, marks: Sequence[Mark]) -> None:
        self.marks += marks

    def record_equity(self, market_at: datetime, session_date: date) -> None:
        self.equity.append(market_at)

    def record_bars(self, bars: Iterable[Bar]) -> None:
        self.bars += bars

    def save_state(self, state: Mapping[str, Any]) -> None:
        self.saved.append(state)

    def load_state(self) -> Mapping[str, Any] | None:
        return self.saved[-1] if self.saved else None

    def _answers(self, requests: Sequence[EntryRequest] | Sequence[ExitRequest]) -> list[Answer]:
        return list(self.answers) or [Answer(request.id, OrderState.READY, None, None) for request in requests]


def a_permit(id: str) -> Order:
    """Return an entry that may be sent for ten seconds."""
    issued = {"submitted_at": START, "permit_deadline": START + timedelta(seconds=10)}
    return an_order(id=id, state=OrderState.SUBMITTING, broker_order_id=None, broker_status=None, **issued)


def a_control(mode: ControlMode = ControlMode.RUNNING, **scopes: ControlMode) -> TradingControl:
    """Return what the authority says; keywords are paused or halted symbols."""
    return TradingControl(
        mode=mode,
        changed_by="admin",
        changed_at=START,
        reason="",
        version=1,
        checked_at=START,
        scopes={("symbol", symbol): scoped for symbol, scoped in scopes.items()},
    )


def a_health(clock: ManualClock, home: Path, mode: ControlMode | None = ControlMode.RUNNING) -> HealthTracker:
    """Return a tracker that has just heard `mode`, or nothing."""
    health = HealthTracker(clock, LocalBrake(home / "BRAKE"), control_age_max_s=10)
    if mode is not None:
        health.record_trading_control(a_control(mode))
    return health


def a_lease(authority: FakeAuthority, health: HealthTracker, clock: ManualClock) -> Lease:
    """Return a lease that was acquired just now."""
    lease = Lease(authority, health, clock)
    assert lease.try_acquire()
    return lease
