from decimal import Decimal

import pytest

from engine.domain.book import Purpose
from engine.domain.broker_types import MarketTime
from engine.service.exit_desk import ExitDesk
from engine.service.position_monitor import PositionMonitor
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, NOON, a_quote, a_snapshot, a_trade, protected_trade
from tests.unit.engine.fakes import FakeAuthority, FakeMarketData


@pytest.fixture
def monitor(market_data: FakeMarketData, authority: FakeAuthority, book: Book) -> PositionMonitor:
    return PositionMonitor(market_data, authority, ExitDesk(authority, book), book)


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


def test_nothing_is_closed_when_the_market_is_closed(
    monitor: PositionMonitor, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = a_snapshot(trades=(a_trade(),))
    market_data.prices = {"AAPL": a_quote("85")}

    monitor.run(MarketTime(NOON, is_open=False))

    assert authority.exits == []
