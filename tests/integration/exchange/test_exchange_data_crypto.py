"""Crypto pairs through the unmodified data client: synthetic, seeded, around the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from alpaca.data.historical import CryptoHistoricalDataClient
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.enums import AssetClass
from alpaca.trading.requests import GetAssetsRequest

from tests.integration.exchange.live import KEY_ID, SECRET_KEY, LiveExchange

PAIR = "BTC/USD"
# Saturday and Sunday, Central Time.
WEEKEND = {"start": datetime(2006, 12, 30, 6, tzinfo=UTC), "end": datetime(2006, 12, 31, 5, 59, tzinfo=UTC)}


@pytest.fixture
def crypto(live: LiveExchange) -> CryptoHistoricalDataClient:
    client = CryptoHistoricalDataClient(KEY_ID, SECRET_KEY, url_override=live.url)
    client._retry = 0
    return client


def bars(crypto: CryptoHistoricalDataClient, timeframe: TimeFrame, **span: Any) -> list[Any]:
    request = CryptoBarsRequest(symbol_or_symbols=PAIR, timeframe=timeframe, **(span or WEEKEND))
    found: list[Any] = crypto.get_crypto_bars(request).data[PAIR]
    return found


@pytest.mark.parametrize(
    ("timeframe", "count"),
    [(TimeFrame.Minute, 1440), (TimeFrame(5, TimeFrameUnit.Minute), 288), (TimeFrame.Hour, 24)],
)
def test_bars_of_a_weekend_day_have_no_gap_and_add_up_to_the_day(
    crypto: CryptoHistoricalDataClient, timeframe: TimeFrame, count: int
) -> None:
    parts = bars(crypto, timeframe)
    (day,) = bars(crypto, TimeFrame.Day)

    assert len(parts) == count
    assert len({b.timestamp - a.timestamp for a, b in pairwise(parts)}) == 1
    assert (parts[0].open, parts[-1].close) == (day.open, day.close)
    assert (max(bar.high for bar in parts), min(bar.low for bar in parts)) == (day.high, day.low)
    assert sum(bar.volume for bar in parts) == pytest.approx(day.volume, abs=1e-6)


def test_days_open_where_the_one_before_closed(crypto: CryptoHistoricalDataClient) -> None:
    days = bars(crypto, TimeFrame.Day, start=datetime(2006, 3, 1, 6, tzinfo=UTC))

    assert len(days) == 309
    assert all(after.open == before.close for before, after in pairwise(days))


def test_weeks_and_months_are_made_of_days(crypto: CryptoHistoricalDataClient) -> None:
    span = {"start": datetime(2006, 11, 1, 5, tzinfo=UTC), "end": datetime(2006, 12, 31, 6, tzinfo=UTC)}

    months = bars(crypto, TimeFrame.Month, **span)
    weeks = bars(crypto, TimeFrame.Week, **span)

    assert [bar.timestamp.month for bar in months] == [11, 12]
    assert all(bar.timestamp.weekday() == 0 for bar in weeks)


def test_trades_and_quotes_of_a_minute_are_its_bar(crypto: CryptoHistoricalDataClient) -> None:
    minute = {"start": WEEKEND["start"], "end": WEEKEND["start"] + timedelta(seconds=59.9999)}
    (bar,) = bars(crypto, TimeFrame.Minute, **minute)

    trades = crypto.get_crypto_trades(CryptoTradesRequest(symbol_or_symbols=PAIR, **minute)).data[PAIR]
    quotes = crypto.get_crypto_quotes(CryptoQuoteRequest(symbol_or_symbols=PAIR, **minute)).data[PAIR]

    prices = [trade.price for trade in trades]
    assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
    assert sum(trade.size for trade in trades) == pytest.approx(bar.volume, abs=1e-9)
    assert all(q.bid_price < t.price < q.ask_price for q, t in zip(quotes, trades, strict=True))


def test_latest_of_everything_agrees_with_the_snapshot(live: LiveExchange, crypto: CryptoHistoricalDataClient) -> None:
    live.step(ticks=2)
    wanted = {"symbol_or_symbols": PAIR}

    found = crypto.get_crypto_snapshot(CryptoSnapshotRequest(**wanted))[PAIR]

    now = live.trading.get_clock().timestamp
    assert found.latest_trade == crypto.get_crypto_latest_trade(CryptoLatestTradeRequest(**wanted))[PAIR]
    assert found.latest_quote == crypto.get_crypto_latest_quote(CryptoLatestQuoteRequest(**wanted))[PAIR]
    assert found.minute_bar == crypto.get_crypto_latest_bar(CryptoLatestBarRequest(**wanted))[PAIR]
    assert found.latest_trade.timestamp == found.latest_quote.timestamp == now
    assert found.minute_bar.timestamp == now - timedelta(minutes=1)
    assert found.daily_bar.close == found.minute_bar.close == found.latest_trade.price
    assert found.previous_daily_bar.close == found.daily_bar.open


def test_orderbook_is_sorted_around_the_quote(crypto: CryptoHistoricalDataClient) -> None:
    wanted = {"symbol_or_symbols": [PAIR, "ETH/USD"]}

    books = crypto.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(**wanted))
    quotes = crypto.get_crypto_latest_quote(CryptoLatestQuoteRequest(**wanted))

    for pair, book in books.items():
        bids, asks = [level.price for level in book.bids], [level.price for level in book.asks]
        assert (bids[0], asks[0]) == (quotes[pair].bid_price, quotes[pair].ask_price)
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)


def test_price_of_the_quote_goes_on_overnight(closed_market: LiveExchange) -> None:
    client = CryptoHistoricalDataClient(KEY_ID, SECRET_KEY, url_override=closed_market.url)
    closed_market.step(to="close")
    evening = client.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols=PAIR))[PAIR]

    closed_market.step(to="open")

    night = bars(client, TimeFrame.Hour, start=evening.timestamp, end=evening.timestamp + timedelta(hours=17))
    assert [bar.timestamp for bar in night] == [evening.timestamp + timedelta(hours=n) for n in range(18)]
    assert len({bar.close for bar in night}) > 12


def test_unknown_pairs_are_left_out_and_other_locations_refused(live: LiveExchange) -> None:
    found = live.send("GET", "/v1beta3/crypto/us/latest/trades?symbols=BTC/USD,DOGE/USD").json()

    assert list(found["trades"]) == [PAIR]
    assert live.send("GET", "/v1beta3/crypto/eu-1/latest/trades?symbols=BTC/USD").status_code == 501


def test_prices_move_with_a_shock_until_the_session_ends(
    live: LiveExchange, crypto: CryptoHistoricalDataClient
) -> None:
    request = CryptoLatestTradeRequest(symbol_or_symbols=PAIR)
    before = crypto.get_crypto_latest_trade(request)[PAIR].price

    live.sim("POST", "price", symbol=PAIR, pct=-0.5)

    assert crypto.get_crypto_latest_trade(request)[PAIR].price == pytest.approx(before / 2, abs=0.01)
    live.step(to="close")
    live.step(to="open")
    assert crypto.get_crypto_latest_trade(request)[PAIR].price > before * 0.8


def test_pairs_are_assets_labelled_synthetic(live: LiveExchange) -> None:
    found = live.trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO))

    assert [asset.symbol for asset in found] == ["BTC/USD", "ETH/USD"]
    assert all("synthetic" in asset.name and asset.tradable and not asset.marginable for asset in found)
    assert live.trading.get_asset("BTCUSD").id == found[0].id
