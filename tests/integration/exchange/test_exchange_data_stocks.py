"""Prices of shares through the unmodified data client: bars, trades, quotes, adjustments, pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.integration.exchange.live import LiveExchange

TODAY = datetime(2007, 1, 3, tzinfo=UTC)
OPEN = datetime(2007, 1, 3, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def bars(live: LiveExchange, symbol: str, timeframe: TimeFrame, **options: Any) -> list[Any]:
    request = StockBarsRequest(symbol_or_symbols=symbol, timeframe=timeframe, **({"start": TODAY} | options))
    found: list[Any] = live.data.get_stock_bars(request).data.get(symbol, [])
    return found


def ohlcv(parts: list[Any]) -> tuple[float, float, float, float, float]:
    """Return what some bars come to."""
    return (
        parts[0].open,
        max(bar.high for bar in parts),
        min(bar.low for bar in parts),
        parts[-1].close,
        sum(bar.volume for bar in parts),
    )


class TestBars:
    @pytest.mark.parametrize("amount", [1, 2, 7, 15, 59])
    def test_add_up_to_the_real_day_when_they_are_minutes(self, live: LiveExchange, amount: int) -> None:
        live.step(to="close")

        minutes = bars(live, "AAPL", TimeFrame(amount, TimeFrameUnit.Minute))
        (day,) = bars(live, "AAPL", TimeFrame.Day)

        assert ohlcv(minutes) == ohlcv([day])
        assert len(minutes) == len({bar.timestamp for bar in minutes}) >= 390 // amount

    def test_of_minutes_add_up_to_those_of_five_minutes_and_of_hours(self, live: LiveExchange) -> None:
        live.step(to="close")
        minutes = bars(live, "AAPL", TimeFrame.Minute)

        for length in (timedelta(minutes=5), timedelta(hours=1)):
            unit = TimeFrame(5, TimeFrameUnit.Minute) if length < timedelta(hours=1) else TimeFrame.Hour
            grouped = groupby(minutes, key=lambda bar: (bar.timestamp - TODAY) // length)
            expected = [ohlcv(list(group)) for _, group in grouped]

            assert [ohlcv([bar]) for bar in bars(live, "AAPL", unit)] == expected

    def test_of_minutes_end_with_the_minute_before_now(self, live: LiveExchange) -> None:
        live.step(ticks=3)

        found = bars(live, "AAPL", TimeFrame.Minute)

        assert [bar.timestamp for bar in found] == [OPEN + n * MINUTE for n in range(15)]

    def test_of_a_year_are_quarters_and_months_of_the_same_days(self, live: LiveExchange) -> None:
        span = {"start": datetime(2006, 1, 1, tzinfo=UTC), "end": datetime(2006, 12, 31, tzinfo=UTC)}

        days = bars(live, "IBM", TimeFrame.Day, **span)
        months = bars(live, "IBM", TimeFrame.Month, **span)
        quarters = bars(live, "IBM", TimeFrame(3, TimeFrameUnit.Month), **span)

        assert (len(months), len(quarters)) == (12, 4)
        assert ohlcv(days) == ohlcv(months) == ohlcv(quarters)

    def test_are_the_same_from_both_feeds(self, live: LiveExchange) -> None:
        live.step(ticks=2)

        iex = bars(live, "AAPL", TimeFrame.Minute, feed=DataFeed.IEX)

        assert iex == bars(live, "AAPL", TimeFrame.Minute, feed=DataFeed.SIP)

    @pytest.mark.parametrize("feed", [DataFeed.OTC, DataFeed.BOATS, DataFeed.OVERNIGHT, DataFeed.DELAYED_SIP])
    def test_are_answered_with_501_when_the_feed_is_not_simulated(self, live: LiveExchange, feed: DataFeed) -> None:
        with pytest.raises(APIError) as refused:
            bars(live, "AAPL", TimeFrame.Day, feed=feed)

        assert refused.value.status_code == 501
        assert f"not simulated by the paper exchange: feed {feed.value}" in str(refused.value)

    def test_stop_at_the_limit_when_there_is_one(self, live: LiveExchange) -> None:
        span = {"start": datetime(2006, 1, 1, tzinfo=UTC)}

        newest = bars(live, "AAPL", TimeFrame.Day, limit=3, sort=Sort.DESC, **span)

        assert [bar.close for bar in newest] == [84.84, 80.87, 81.52]


class TestAdjustment:
    def test_takes_the_dividend_out_of_prices_and_leaves_the_volume(
        self, start_exchange: Callable[..., LiveExchange]
    ) -> None:
        live = start_exchange(day=date(2004, 11, 15))
        live.step(to="open")
        friday = {"start": datetime(2004, 11, 12, tzinfo=UTC), "end": datetime(2004, 11, 13, tzinfo=UTC)}

        (raw,) = bars(live, "MSFT", TimeFrame.Day, **friday)
        (adjusted,) = bars(live, "MSFT", TimeFrame.Day, adjustment=Adjustment.DIVIDEND, **friday)

        assert adjusted.close == pytest.approx(raw.close - 3.08, abs=0.0001)
        assert adjusted.volume == raw.volume

    def test_of_all_kinds_is_that_of_splits_times_that_of_dividends(
        self, start_exchange: Callable[..., LiveExchange]
    ) -> None:
        live = start_exchange(day=date(2003, 3, 3))
        found = {
            kind: bars(live, "MSFT", TimeFrame.Day, start=datetime(2003, 1, 2, tzinfo=UTC), adjustment=kind)
            for kind in Adjustment
        }

        for raw, split, dividend, both in zip(*(found[kind] for kind in Adjustment), strict=True):
            ratio = 2 if raw.timestamp < datetime(2003, 2, 18, tzinfo=UTC) else 1
            assert split.close == pytest.approx(raw.close / ratio, abs=0.0001)
            assert both.close == pytest.approx(dividend.close / ratio, abs=0.0001)
            assert both.volume == split.volume == raw.volume * ratio
        assert found[Adjustment.ALL][0].close < found[Adjustment.SPLIT][0].close

    def test_reaches_into_a_month_in_whose_middle_the_split_was(
        self, start_exchange: Callable[..., LiveExchange]
    ) -> None:
        live = start_exchange(day=date(2003, 3, 3))
        span = {"start": datetime(2003, 2, 1, 5, tzinfo=UTC), "adjustment": Adjustment.SPLIT}

        (month,) = bars(live, "MSFT", TimeFrame.Month, **span)

        assert ohlcv(bars(live, "MSFT", TimeFrame.Day, **span)) == ohlcv([month])


class TestTradesAndQuotes:
    def test_trades_of_a_minute_are_its_bar(self, live: LiveExchange) -> None:
        live.step(ticks=4)
        minutes = {bar.timestamp: bar for bar in bars(live, "AAPL", TimeFrame.Minute)}

        request = StockTradesRequest(symbol_or_symbols="AAPL", start=OPEN, end=OPEN + 20 * MINUTE)
        trades = live.data.get_stock_trades(request).data["AAPL"]

        assert len(minutes) == 20
        for at, bar in minutes.items():
            inside = [trade for trade in trades if at <= trade.timestamp < at + MINUTE]
            prices = [trade.price for trade in inside]
            assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
            assert sum(trade.size for trade in inside) == bar.volume
            assert len(inside) == bar.trade_count

    def test_quotes_lie_around_the_trades_of_their_time(self, live: LiveExchange) -> None:
        live.step(ticks=2)
        span = {"symbol_or_symbols": "AAPL", "start": OPEN, "end": OPEN + 10 * MINUTE}

        trades = live.data.get_stock_trades(StockTradesRequest(**span)).data["AAPL"]
        quotes = live.data.get_stock_quotes(StockQuotesRequest(**span)).data["AAPL"]

        assert [quote.timestamp for quote in quotes] == [trade.timestamp for trade in trades]
        for quote, trade in zip(quotes, trades, strict=True):
            assert quote.bid_price < trade.price < quote.ask_price

    def test_the_latest_are_the_last_of_the_past(self, live: LiveExchange) -> None:
        live.step(ticks=2)
        span = {"symbol_or_symbols": "AAPL", "start": OPEN}

        trade = live.data.get_stock_trades(StockTradesRequest(**span)).data["AAPL"][-1]
        quote = live.data.get_stock_quotes(StockQuotesRequest(**span)).data["AAPL"][-1]

        assert live.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"] == trade
        assert live.data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"] == quote

    def test_nothing_after_now_is_told_when_the_end_lies_in_the_future(self, live: LiveExchange) -> None:
        live.step(ticks=1)

        request = StockTradesRequest(symbol_or_symbols="AAPL", start=OPEN, end=OPEN + timedelta(days=30))
        trades = live.data.get_stock_trades(request).data["AAPL"]

        assert trades[-1].timestamp == OPEN + 5 * MINUTE == live.trading.get_clock().timestamp

    @pytest.mark.parametrize("sort", ["asc", "desc"])
    def test_pages_hold_each_trade_once_and_in_order(self, live: LiveExchange, sort: str) -> None:
        live.step(ticks=3)
        query = f"symbols=AAPL,MSFT&start=2007-01-03&limit=50&sort={sort}"
        seen: list[tuple[str, str]] = []
        pages, token = 0, ""

        while token is not None:
            page = live.send("GET", f"/v2/stocks/trades?{query}&page_token={token}").json()
            seen += [(symbol, trade["t"]) for symbol in page["trades"] for trade in page["trades"][symbol]]
            pages, token = pages + 1, page["next_page_token"]

        whole = live.send("GET", f"/v2/stocks/trades?{query.replace('limit=50', 'limit=10000')}").json()["trades"]
        assert seen == [(symbol, trade["t"]) for symbol in whole for trade in whole[symbol]]
        assert len(seen) == len(set(seen)) == 2 * (15 * 12 + 1)
        assert pages == -(-len(seen) // 50)


class TestSnapshot:
    def test_agrees_with_every_latest_endpoint(self, live: LiveExchange) -> None:
        live.step(ticks=2)
        wanted = {"symbol_or_symbols": "AAPL"}

        found = live.data.get_stock_snapshot(StockSnapshotRequest(**wanted))["AAPL"]

        assert found.latest_trade == live.data.get_stock_latest_trade(StockLatestTradeRequest(**wanted))["AAPL"]
        assert found.latest_quote == live.data.get_stock_latest_quote(StockLatestQuoteRequest(**wanted))["AAPL"]
        assert found.minute_bar == live.data.get_stock_latest_bar(StockLatestBarRequest(**wanted))["AAPL"]
        assert [found.previous_daily_bar, found.daily_bar] == bars(
            live, "AAPL", TimeFrame.Day, start=datetime(2006, 12, 29, tzinfo=UTC)
        )
