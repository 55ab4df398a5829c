from datetime import timedelta
from decimal import Decimal

import pytest

from engine.domain.book import OrderState, Purpose
from engine.domain.broker_types import MarketTime
from engine.domain.errors import AuthorityUnavailable, BrokerRefused, BrokerUnavailable
from engine.service.exit_desk import ExitDesk
from engine.service.position_monitor import PositionMonitor
from engine.service.views import Book
from tests.unit.engine.builders import (
    MARKET,
    NOON,
    a_leg,
    a_profile,
    a_quote,
    a_snapshot,
    a_trade,
    an_order,
    protected_trade,
)
from tests.unit.engine.fakes import FakeAuthority, FakeMarketData, ManualClock


@pytest.fixture
def monitor(market_data: FakeMarketData, authority: FakeAuthority, book: Book, clock: ManualClock) -> PositionMonitor:
    return PositionMonitor(market_data, authority, ExitDesk(authority, book, clock), book, clock)


def trailing(**params: object):
    """Return a profile whose stops trail at a tenth."""
    return a_profile(params={"trailing_stop_pct": "0.1"} | params)


def test_every_position_is_marked_when_it_has_a_quote(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(protected_trade(), a_trade(symbol="FB")))
    market_data.prices = {"AAPL": a_quote("101")}

    monitor.run(MARKET)

    (mark,) = authority.marks
    assert (mark.mark_price, mark.protected_qty) == (101, 10)


def test_a_naked_position_is_closed_when_the_price_is_through_its_stop(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(a_trade(),))
    market_data.prices = {"AAPL": a_quote("85")}

    monitor.run(MARKET)

    (request,) = authority.exits
    assert (request.purpose, request.exit_reason, request.order_type) == (Purpose.EXIT, "stop_loss", "market")


def test_a_naked_position_gets_a_stop_when_the_price_is_above_it(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(a_trade(),))
    market_data.prices = {"AAPL": a_quote("100")}

    monitor.run(MARKET)

    (request,) = authority.exits
    assert (request.purpose, request.order_type) == (Purpose.STOP_LOSS, "stop")
    assert (request.qty, request.stop_price) == (Decimal(10), Decimal(90))


def test_a_resting_stop_is_overruled_only_when_it_keeps_failing_to_act(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(protected_trade(),))
    market_data.prices = {"AAPL": a_quote("80")}

    monitor.run(MARKET)
    monitor.run(MARKET)
    assert authority.exits == []
    monitor.run(MARKET)

    assert [request.exit_reason for request in authority.exits] == ["stop_loss"]


def test_a_naked_position_gets_its_stop_for_the_opening_when_the_market_is_closed(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(a_trade(),))
    market_data.prices = {"AAPL": a_quote("85")}

    monitor.run(MarketTime(NOON, is_open=False))

    assert [request.order_type for request in authority.exits] == ["stop"]


def test_a_trailing_stop_is_noted_and_moved_in_place_of_the_resting_one(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    legs = a_leg(Purpose.STOP_LOSS, stop_price=Decimal(90)), a_leg(Purpose.TAKE_PROFIT)
    authority.book = a_snapshot(profiles=(trailing(),), trades=(a_trade(*legs),))
    market_data.prices = {"AAPL": a_quote("110")}

    monitor.run(MARKET)

    (request,) = authority.exits
    assert (request.replaces_broker_id, request.stop_price) == ("broker-stop_loss", 99)
    assert authority.marks[0].stop_price == 99


def test_each_resting_stop_has_an_id_of_its_own_to_be_moved_under(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    for number, price in enumerate(("110", "115")):
        leg = a_leg(Purpose.STOP_LOSS, id=f"stop-{number}", stop_price=Decimal(90))
        authority.book = a_snapshot(profiles=(trailing(),), trades=(a_trade(leg, a_leg(Purpose.TAKE_PROFIT)),))
        market_data.prices = {"AAPL": a_quote(price)}
        monitor.run(MARKET)

    first, second = authority.exits
    assert first.id != second.id


def test_rules_that_do_not_fit_leave_the_trades_own_stop_in_force(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(profiles=(trailing(trailing_stop_pct="lots"),), trades=(a_trade(),))
    market_data.prices = {"AAPL": a_quote("100")}

    monitor.run(MARKET)

    assert [request.stop_price for request in authority.exits] == [90]


@pytest.mark.parametrize("refusal", [BrokerUnavailable("no data"), BrokerRefused("the feed is not paid for")])
def test_a_naked_position_is_protected_when_there_is_no_market_data(
    monitor: PositionMonitor,
    authority: FakeAuthority,
    market_data: FakeMarketData,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Exception,
) -> None:
    def unavailable(symbols: object) -> None:
        raise refusal

    monkeypatch.setattr(market_data, "quotes", unavailable)
    authority.book = a_snapshot(trades=(a_trade(),))

    monitor.run(MARKET)

    assert [request.purpose for request in authority.exits] == [Purpose.STOP_LOSS]
    assert authority.marks == []


def test_a_stale_quote_neither_closes_nor_marks(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(protected_trade(),))
    market_data.prices = {"AAPL": a_quote("50")}

    for _ in range(5):
        monitor.run(MarketTime(NOON + timedelta(minutes=6), is_open=True))

    assert (authority.exits, authority.marks) == ([], [])


def test_lost_protection_is_noted_beside_the_last_price_when_there_is_no_quote(
    monitor: PositionMonitor, authority: FakeAuthority
) -> None:
    before = NOON - timedelta(minutes=5)
    authority.book = a_snapshot(trades=(a_trade(mark_price=Decimal(101), marked_at=before),))

    monitor.run(MARKET)

    (mark,) = authority.marks
    assert (mark.protected_qty, mark.mark_price, mark.market_at) == (0, 101, before)


def test_the_rest_of_an_entry_is_cancelled_when_it_stays_partly_filled(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData, clock: ManualClock
) -> None:
    entry = an_order(state=OrderState.PARTIALLY_FILLED, filled_qty=Decimal(4))
    authority.book = a_snapshot(trades=(protected_trade(qty=Decimal(4)),), orders=(entry,))
    market_data.prices = {"AAPL": a_quote("100")}

    monitor.run(MARKET)
    assert authority.cancels == []
    clock.sleep(2)
    monitor.run(MARKET)

    assert [request.id for request in authority.cancels] == ["entry"]


def test_a_stop_too_many_is_cancelled_with_the_reason(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    spare = a_leg(Purpose.STOP_LOSS, id="spare", parent_id=None)
    authority.book = a_snapshot(trades=(protected_trade(), a_trade(spare, a_leg(Purpose.STOP_LOSS))))
    market_data.prices = {"AAPL": a_quote("100")}

    monitor.run(MARKET)

    (cancel,) = authority.cancels
    assert (cancel.id, cancel.reason) == ("spare", "stops for 20 shares, but only 10 are held")


def test_long_and_short_slices_of_a_symbol_are_cared_for_apart(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    short = a_trade(trade_id="short", side="short", stop_price=Decimal(105), take_profit_price=None)
    authority.book = a_snapshot(trades=(a_trade(take_profit_price=None), short))
    market_data.prices = {"AAPL": a_quote("106")}

    monitor.run(MARKET)

    asked = {request.trade_id: request.purpose for request in authority.exits}
    assert asked == {"entry": Purpose.STOP_LOSS, "short": Purpose.EXIT}


def test_between_sessions_of_a_replay_a_trailed_stop_is_kept(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    legs = a_leg(Purpose.STOP_LOSS, stop_price=Decimal(90)), a_leg(Purpose.TAKE_PROFIT)
    authority.book = a_snapshot(profiles=(trailing(),), trades=(a_trade(*legs), protected_trade(trade_id="other")))
    market_data.prices = {"AAPL": a_quote("110")}

    monitor.run_urgent(MARKET)

    assert [(mark.trade_id, mark.stop_price) for mark in authority.marks] == [("entry", 99), ("other", 99)]


def test_a_stop_that_has_trailed_stays_while_the_authority_is_away(
    monitor: PositionMonitor,
    authority: FakeAuthority,
    market_data: FakeMarketData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(marks: object) -> None:
        raise AuthorityUnavailable("gone")

    monkeypatch.setattr(authority, "record_marks", away)
    legs = a_leg(Purpose.STOP_LOSS, stop_price=Decimal(90)), a_leg(Purpose.TAKE_PROFIT)
    authority.book = a_snapshot(profiles=(trailing(),), trades=(a_trade(*legs),))
    for price in ("120", "107"):
        market_data.prices = {"AAPL": a_quote(price)}
        monitor.run(MARKET)

    assert [(request.purpose, request.stop_price) for request in authority.exits] == [
        (Purpose.STOP_LOSS, 108),
        (Purpose.EXIT, None),
    ]

    monkeypatch.undo()
    market_data.prices = {"AAPL": a_quote("110")}
    monitor.run(MARKET)
    assert [mark.stop_price for mark in authority.marks] == [108]  # told as soon as it can be
