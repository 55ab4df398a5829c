"""Bars, quotes and trades through the unmodified data client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.integration.exchange.live import LiveExchange

DECEMBER = datetime(2006, 12, 1, tzinfo=UTC)


def bars(live: LiveExchange, symbols: str | list[str], timeframe: TimeFrame = TimeFrame.Day, **options: Any) -> Any:
    options = {"start": DECEMBER} | options
    request = StockBarsRequest(symbol_or_symbols=symbols, timeframe=timeframe, **options)
    return live.data.get_stock_bars(request).data


class TestBars:
    def test_are_the_real_ones_when_daily(self, live: LiveExchange) -> None:
        last = bars(live, "AAPL")["AAPL"][-1]

        assert last.timestamp == datetime(2006, 12, 29, 5, tzinfo=UTC)
        assert (last.open, last.high, last.low, last.close) == (83.95, 85.4, 83.36, 84.84)

    def test_end_with_what_has_traded_so_far_when_the_session_is_open(self, live: LiveExchange) -> None:
        live.step(minutes=60)

        today = bars(live, "AAPL")["AAPL"][-1]

        latest = live.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))
        assert today.timestamp == datetime(2007, 1, 3, 5, tzinfo=UTC)
        assert today.close == latest["AAPL"].price

    @pytest.mark.parametrize("unit", [TimeFrameUnit.Minute, TimeFrameUnit.Hour])
    def test_add_up_to_the_real_day_when_shorter(self, live: LiveExchange, unit: TimeFrameUnit) -> None:
        amount = 5 if unit is TimeFrameUnit.Minute else 1
        live.step(to="close")

        parts = bars(live, "AAPL", TimeFrame(amount, unit), start=datetime(2007, 1, 3, tzinfo=UTC))
        (day,) = bars(live, "AAPL", start=datetime(2007, 1, 3, tzinfo=UTC)).values()

        found = parts["AAPL"]
        assert len(found) == (78 if unit is TimeFrameUnit.Minute else 7)
        assert (found[0].open, found[-1].close) == (day[0].open, day[0].close)
        assert max(bar.high for bar in found) == day[0].high
        assert min(bar.low for bar in found) == day[0].low
        assert sum(bar.volume for bar in found) == day[0].volume

    def test_come_once_each_when_paged(self, live: LiveExchange) -> None:
        query = "symbols=AAPL,MSFT&timeframe=1Day&start=2006-12-01&limit=7"
        seen: list[tuple[str, str]] = []
        token = ""

        while token is not None:
            page = live.send("GET", f"/v2/stocks/bars?{query}&page_token={token}").json()
            seen += [(symbol, bar["t"]) for symbol in page["bars"] for bar in page["bars"][symbol]]
            token = page["next_page_token"]

        assert len(seen) == len(set(seen)) == 40
        assert seen == sorted(seen)

    def test_come_newest_first_when_sorted_so(self, live: LiveExchange) -> None:
        path = "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2006-12-01&sort=desc"
        page = live.send("GET", f"{path}&limit=3").json()
        rest = live.send("GET", f"{path}&page_token={page['next_page_token']}").json()

        times = [bar["t"] for bar in page["bars"]["AAPL"] + rest["bars"]["AAPL"]]

        assert times == sorted(times, reverse=True)
        assert len(times) == len(set(times)) == 20

    def test_are_halved_before_the_split_when_adjusted(self, start_exchange: Callable[..., LiveExchange]) -> None:
        live = start_exchange(day=date(2005, 2, 28))
        live.step(to="open")
        since = datetime(2005, 2, 25, tzinfo=UTC)

        raw = bars(live, "AAPL", start=since)["AAPL"][0]
        split = bars(live, "AAPL", start=since, adjustment="split")["AAPL"][0]

        assert (raw.close, split.close) == (88.99, 44.495)
        assert split.volume == 2 * raw.volume

    def test_are_not_adjusted_for_a_split_that_is_still_to_come(
        self, start_exchange: Callable[..., LiveExchange]
    ) -> None:
        live = start_exchange(day=date(2005, 2, 28))

        last = bars(live, "AAPL", start=datetime(2005, 2, 25, tzinfo=UTC), adjustment="split")

        assert last["AAPL"][-1].close == 88.99

    def test_are_empty_when_the_symbol_is_unknown_or_not_listed_yet(self, live: LiveExchange) -> None:
        assert bars(live, ["FB", "NOPE"]) == {}

    @pytest.mark.parametrize(("unit", "count"), [(TimeFrameUnit.Week, 4), (TimeFrameUnit.Month, 1)])
    def test_are_grouped_when_longer_than_a_day(self, live: LiveExchange, unit: TimeFrameUnit, count: int) -> None:
        found = bars(live, "AAPL", TimeFrame(1, unit))["AAPL"]

        assert len(found) == count
        assert found[-1].close == 84.84

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("symbols=AAPL&timeframe=1Day&feed=otc", 501),
            ("symbols=AAPL&timeframe=1Day&currency=EUR", 501),
            ("symbols=AAPL&timeframe=1Day&feed=mine", 400),
            ("symbols=AAPL&timeframe=1Day&start=2007-01-02&end=2007-01-01", 400),
            ("symbols=AAPL&timeframe=soon", 400),
            ("symbols=AAPL&timeframe=99Hour", 400),
            ("timeframe=1Day", 400),
            ("symbols=AAPL&timeframe=1Day&adjustment=none", 400),
            ("symbols=AAPL&timeframe=1Day&page_token=zzz", 400),
            ("symbols=AAPL&timeframe=1Day&start=never", 422),
            ("symbols=AAPL&timeframe=1Day&limit=-1", 422),
        ],
    )
    def test_are_refused_when_the_request_is_wrong_or_not_simulated(
        self, live: LiveExchange, query: str, status: int
    ) -> None:
        assert live.send("GET", f"/v2/stocks/bars?{query}").status_code == status


class TestLatest:
    def test_quote_lies_around_the_trade_when_the_market_is_open(self, live: LiveExchange) -> None:
        wanted = {"symbol_or_symbols": ["AAPL", "MSFT"]}

        quotes = live.data.get_stock_latest_quote(StockLatestQuoteRequest(**wanted))
        trades = live.data.get_stock_latest_trade(StockLatestTradeRequest(**wanted))

        for symbol, quote in quotes.items():
            assert quote.bid_price < trades[symbol].price < quote.ask_price
            assert quote.timestamp == live.trading.get_clock().timestamp

    def test_trade_is_the_last_close_when_the_market_has_not_opened(self, closed_market: LiveExchange) -> None:
        request = StockLatestTradeRequest(symbol_or_symbols="AAPL")

        assert closed_market.data.get_stock_latest_trade(request)["AAPL"].price == 84.84

    def test_bar_is_the_last_minute_when_the_session_runs(self, live: LiveExchange) -> None:
        live.step(ticks=2)

        latest = live.data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))

        assert latest["AAPL"].timestamp == datetime(2007, 1, 3, 14, 39, tzinfo=UTC)

    def test_snapshot_holds_all_of_it_when_the_session_runs(self, live: LiveExchange) -> None:
        live.step(ticks=2)

        snapshot = live.data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))

        assert snapshot["AAPL"].previous_daily_bar.close == 84.84
        assert snapshot["AAPL"].daily_bar.close == snapshot["AAPL"].latest_trade.price

    def test_price_is_lower_when_a_shock_was_ordered(self, live: LiveExchange) -> None:
        request = StockLatestTradeRequest(symbol_or_symbols="AAPL")
        before = live.data.get_stock_latest_trade(request)["AAPL"].price

        live.sim("POST", "price", symbol="AAPL", pct=-0.5)

        after = live.data.get_stock_latest_trade(request)["AAPL"].price
        assert after == pytest.approx(before / 2, abs=0.01)
