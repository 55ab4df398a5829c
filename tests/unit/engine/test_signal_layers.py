"""Layers in the trade tick: they hold entries back and say so; exits pass whatever they say."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.book import Snapshot
from engine.domain.broker_types import Bar, MarketTime
from engine.service.auto_trader import AutoTrader
from engine.service.health_tracker import HealthTracker
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, NOON, a_profile, a_quote, a_snapshot, hourly_bars, protected_trade
from tests.unit.engine.fakes import FakeAuthority, FakeMarketData
from tests.unit.engine.test_auto_trader import FALLING, RISING, a_trader

MACRO = {"macro": True, "macro_index": "SPY", "macro_window_bars": 3}
COMPETITIVE = {"competitive": True, "competitive_window_bars": 2}


@pytest.fixture
def trader(market_data: FakeMarketData, authority: FakeAuthority, book: Book, health: HealthTracker) -> AutoTrader:
    market_data.prices = {symbol: a_quote("8", symbol) for symbol in ("AAPL", "IBM")}
    return a_trader(market_data, authority, book, health)


def daily_bars(symbol: str, closes: Iterable[int]) -> list[Bar]:
    """Return daily bars that ended before MARKET's day."""
    values = list(closes)
    first = NOON.replace(hour=5) - timedelta(days=len(values))
    return [
        Bar(symbol, "1Day", first + timedelta(days=n), *[Decimal(close)] * 4, volume=Decimal(100))
        for n, close in enumerate(values)
    ]


def with_layers(snapshot: Snapshot, **layers: Any) -> Snapshot:
    return replace(snapshot, risk_config={"signal_layers": layers})


def test_an_entry_against_the_index_is_kept_as_a_signal_and_no_order_is_asked_for(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = with_layers(a_snapshot(profiles=(a_profile(),)), **MACRO)
    market_data.history = hourly_bars(*FALLING) + daily_bars("SPY", FALLING)

    trader.tick(MARKET)
    trader.tick(MARKET)  # the same bar again

    assert authority.entries == []
    (blocked,) = authority.blocked
    assert (blocked.symbol, blocked.side, blocked.blocked_by) == ("AAPL", "buy", "macro")
    assert blocked.signal.reason == "RSI 0.0 is below 30"
    (said,) = blocked.signal.detail["layers"]
    assert said["passed"] is False
    assert said["reason"] == "SPY is 11.1% below its average of 3 days: no new long positions."


def test_the_signal_of_an_entry_that_passes_holds_what_each_layer_said(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = with_layers(a_snapshot(profiles=(a_profile(),)), **MACRO, **COMPETITIVE)
    market_data.history = hourly_bars(*FALLING) + daily_bars("SPY", RISING) + daily_bars("AAPL", RISING)

    trader.tick(MARKET)

    (request,) = authority.entries
    detail = request.signal.detail
    assert [(said["layer"], said["passed"]) for said in detail["layers"]] == [("macro", True), ("competitive", True)]
    assert (detail["reason"], detail["facts"]) == ("RSI 0.0 is below 30", {"rsi": 0.0})
    assert authority.blocked == []


def test_what_is_weaker_than_its_peers_is_held_back_and_the_stronger_passes(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData
) -> None:
    authority.book = with_layers(a_snapshot(profiles=(a_profile(symbols=("AAPL", "IBM")),)), **COMPETITIVE)
    market_data.history = hourly_bars(*FALLING) + hourly_bars(*FALLING, symbol="IBM")
    market_data.history += daily_bars("AAPL", RISING) + daily_bars("IBM", FALLING)

    trader.tick(MARKET)

    assert [request.symbol for request in authority.entries] == ["AAPL"]
    assert [(blocked.symbol, blocked.blocked_by) for blocked in authority.blocked] == [("IBM", "competitive")]


@pytest.mark.parametrize("index", [FALLING, (10,)])  # against it, and not known
def test_an_exit_passes_whatever_the_layers_say(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, index: tuple[int, ...]
) -> None:
    authority.book = with_layers(
        a_snapshot(profiles=(a_profile(),), trades=(protected_trade(),)), **MACRO, **COMPETITIVE
    )
    market_data.history = hourly_bars(*RISING) + daily_bars("SPY", index)

    trader.tick(MARKET)

    assert [request.trade_id for request in authority.exits] == ["entry"]
    assert authority.blocked == []


def test_a_switch_holds_from_the_next_bar_on_without_a_restart(
    trader: AutoTrader, authority: FakeAuthority, market_data: FakeMarketData, book: Book
) -> None:
    plain = a_snapshot(profiles=(a_profile(),))
    market_data.history = hourly_bars(9, 8, 7) + daily_bars("SPY", FALLING)
    authority.book = with_layers(plain, **MACRO)
    trader.tick(MARKET)
    assert len(authority.blocked) == 1

    authority.book = with_layers(plain, **MACRO | {"macro": False})
    book.outdate()
    later = NOON + timedelta(hours=1)
    market_data.history += [replace(market_data.history[2], at=NOON, close=Decimal(6), low=Decimal(6))]
    trader.tick(MarketTime(later, is_open=True))

    assert len(authority.blocked) == len(authority.entries) == 1
    assert authority.entries[0].signal.detail["layers"] == []


def test_a_blocked_bar_is_the_same_record_when_the_engine_was_restarted(
    market_data: FakeMarketData, authority: FakeAuthority, book: Book, health: HealthTracker
) -> None:
    authority.book = with_layers(a_snapshot(profiles=(a_profile(),)), **MACRO)
    market_data.history = hourly_bars(*FALLING) + daily_bars("SPY", FALLING)

    for _ in range(2):
        a_trader(market_data, authority, book, health).tick(MARKET)

    first, second = authority.blocked
    assert first.id == second.id
