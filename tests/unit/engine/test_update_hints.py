"""The stream of trade updates is a hint: it makes the engine look sooner, and nothing is lost without it."""

from collections.abc import Callable

import pytest

from engine.service.order_sync import OrderSync
from engine.service.update_hints import SILENT_FINDS_MAX, UpdateHints
from engine.service.views import Book, MarketClock
from tests.unit.engine.builders import MARKET, a_snapshot, an_order, at_broker
from tests.unit.engine.fakes import FakeAuthority, FakeBroker, FakeMarketData, ManualClock


class FakeUpdates:
    """A stream that speaks when it is told to."""

    def __init__(self) -> None:
        self.on_hint: Callable[[], None] | None = None
        self.reconnects = 0
        self.connected = True

    def start(self, on_hint: Callable[[], None]) -> None:
        self.on_hint = on_hint

    def is_connected(self) -> bool:
        return self.connected

    def reconnect(self) -> None:
        self.reconnects += 1

    def stop(self) -> None: ...


@pytest.fixture
def updates() -> FakeUpdates:
    return FakeUpdates()


@pytest.fixture
def sync(broker: FakeBroker, authority: FakeAuthority, book: Book) -> OrderSync:
    return OrderSync(broker, authority, book)


@pytest.fixture
def hints(updates: FakeUpdates, sync: OrderSync, market_data: FakeMarketData, clock: ManualClock) -> UpdateHints:
    hints = UpdateHints(updates, sync, MarketClock(market_data, clock, age_max_s=0), clock, gap_s=1)
    hints.catch_up()
    return hints


def fill(authority: FakeAuthority, broker: FakeBroker) -> None:
    """Let our order have filled at the broker, without our books knowing it."""
    ours = an_order()
    authority.book = a_snapshot(orders=(ours,))
    broker.known["broker-entry"] = at_broker(ours, status="filled")


def test_a_change_is_taken_over_at_once_when_the_stream_speaks(
    hints: UpdateHints, updates: FakeUpdates, authority: FakeAuthority, broker: FakeBroker
) -> None:
    fill(authority, broker)
    assert hints.catch_up() == 0

    assert updates.on_hint is not None
    updates.on_hint()

    assert hints.catch_up() == 1
    assert [order.status for order in authority.updates] == ["filled"]


def test_a_burst_of_updates_is_one_look_a_gap(
    hints: UpdateHints, updates: FakeUpdates, authority: FakeAuthority, broker: FakeBroker, clock: ManualClock
) -> None:
    fill(authority, broker)
    assert updates.on_hint is not None
    looks = []
    for _ in range(10):
        updates.on_hint()
        looks.append(hints.catch_up())
        clock.sleep(0.25)

    assert looks == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]


def test_another_connection_is_made_when_polling_finds_what_the_stream_keeps_silent_about(
    hints: UpdateHints, updates: FakeUpdates, sync: OrderSync, authority: FakeAuthority, broker: FakeBroker
) -> None:
    fill(authority, broker)

    for _ in range(SILENT_FINDS_MAX):
        assert updates.reconnects == 0
        sync.run(MARKET)
        hints.catch_up()

    assert updates.reconnects == 1


def test_a_stream_that_speaks_now_and_then_is_left_alone(
    hints: UpdateHints, updates: FakeUpdates, sync: OrderSync, authority: FakeAuthority, broker: FakeBroker
) -> None:
    fill(authority, broker)
    assert updates.on_hint is not None

    for n in range(4 * SILENT_FINDS_MAX):
        sync.run(MARKET)
        if n % 2:
            updates.on_hint()
        hints.catch_up()

    assert updates.reconnects == 0


def test_nobody_reconnects_a_stream_that_is_away(
    hints: UpdateHints, updates: FakeUpdates, sync: OrderSync, authority: FakeAuthority, broker: FakeBroker
) -> None:
    fill(authority, broker)
    updates.connected = False

    for _ in range(2 * SILENT_FINDS_MAX):
        sync.run(MARKET)
        hints.catch_up()

    assert updates.reconnects == 0
