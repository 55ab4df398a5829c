"""Routes under `/v1beta3/crypto/us`: the crypto pairs, whose prices are synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from aiohttp import web

from local.exchange.http import prices
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.market_data import bar_rows, timeframe_of
from local.exchange.http.misbehaviour import seen_clock
from local.exchange.http.render import json_response
from local.exchange.http.series import Row, Window, page, wanted_symbols, window_of
from local.exchange.market.bar import Bar
from local.exchange.market.crypto import CENTRAL
from local.exchange.market.crypto_bars import crypto_bars, crypto_day_bar, latest_crypto_bar
from local.exchange.market.history import crypto_prints, last_crypto_print
from local.exchange.market.market import Market, Tick
from local.exchange.trading.errors import not_simulated
from local.exchange.trading.exchange import Exchange

BOOK_LEVELS = 10


async def bars(request: web.Request) -> web.Response:
    exchange, timeframe = request.app[EXCHANGE], timeframe_of(request.query)
    now = time_of(exchange)

    def read(symbol: str, start: datetime, end: datetime) -> Iterator[Bar]:
        return crypto_bars(exchange.market, symbol, timeframe, now=now, start=start, end=end)

    return page(
        request.query, "bars", _pairs(request), _window(request), bar_rows(read, prices.bar_text, timeframe, CENTRAL)
    )


async def trades(request: web.Request) -> web.Response:
    return _prints(request, "trades", prices.crypto_trade_text, time_of(request.app[EXCHANGE]))


async def quotes(request: web.Request) -> web.Response:
    now = seen_clock(request).time(request.app[EXCHANGE].market.calendar)
    return _prints(request, "quotes", prices.crypto_quote_text, now)


async def latest_bars(request: web.Request) -> web.Response:
    market, now = request.app[EXCHANGE].market, time_of(request.app[EXCHANGE])
    found = {pair: prices.bar_body(latest_crypto_bar(market, pair, now)) for pair in _pairs(request)}
    return json_response({"bars": found})


async def latest_trades(request: web.Request) -> web.Response:
    market, now = request.app[EXCHANGE].market, time_of(request.app[EXCHANGE])
    found = {pair: prices.crypto_trade_body(last_crypto_print(market, pair, now)) for pair in _pairs(request)}
    return json_response({"trades": found})


async def latest_quotes(request: web.Request) -> web.Response:
    return json_response({"quotes": {pair: _quote(request, pair) for pair in _pairs(request)}})


async def latest_orderbooks(request: web.Request) -> web.Response:
    return json_response({"orderbooks": {pair: _book(_tick(request, pair)) for pair in _pairs(request)}})


async def snapshots(request: web.Request) -> web.Response:
    found = {pair: _snapshot(request, pair) for pair in _pairs(request)}
    return json_response({"snapshots": found})


def time_of(exchange: Exchange) -> datetime:
    """Return the tick that the simulated clock is at; crypto has one every five minutes, always."""
    return exchange.ledger.clock.time(exchange.market.calendar)


def _prints(request: web.Request, name: str, text: prices.PrintText, now: datetime) -> web.Response:
    market = request.app[EXCHANGE].market

    def read(symbol: str, window: Window) -> Iterator[Row]:
        found = crypto_prints(market, symbol, now=now, start=window.start, end=window.end, descending=window.descending)
        return (Row(each.at, text(each)) for each in found)

    return page(request.query, name, _pairs(request), _window(request), read)


def _snapshot(request: web.Request, pair: str) -> dict[str, Any]:
    market: Market = request.app[EXCHANGE].market
    now = time_of(request.app[EXCHANGE])
    today = market.crypto[pair].index_of(now)
    found = {
        "minuteBar": latest_crypto_bar(market, pair, now),
        "dailyBar": crypto_day_bar(market, pair, today, now),
        "prevDailyBar": crypto_day_bar(market, pair, today - 1, now),
    }
    trade = prices.crypto_trade_body(last_crypto_print(market, pair, now))
    body = {"latestTrade": trade, "latestQuote": _quote(request, pair)}
    return body | {name: prices.bar_body(bar) for name, bar in found.items() if bar}


def _quote(request: web.Request, pair: str) -> dict[str, Any]:
    return prices.crypto_quote_body(_tick(request, pair))


def _tick(request: web.Request, pair: str) -> Tick:
    clock = seen_clock(request)
    return request.app[EXCHANGE].market.tick(pair, clock.moment, clock.after)


def _book(tick: Tick) -> dict[str, Any]:
    """Return an order book around the quote, a spread's width between its levels."""
    spread = tick.ask - tick.bid
    return {
        "t": prices.quote_body(tick)["t"],
        "b": [{"p": float(tick.bid - n * spread), "s": tick.bid_size + n} for n in range(BOOK_LEVELS)],
        "a": [{"p": float(tick.ask + n * spread), "s": tick.ask_size + n} for n in range(BOOK_LEVELS)],
    }


def _pairs(request: web.Request) -> list[str]:
    """Return the wanted pairs that are traded here; Alpaca leaves out the others."""
    location = request.match_info["location"]
    if location != "us":
        raise not_simulated(f"crypto location {location} (there is us)")
    return [pair for pair in wanted_symbols(request.query) if pair in request.app[EXCHANGE].market.crypto]


def _window(request: web.Request) -> Window:
    return window_of(request.query, time_of(request.app[EXCHANGE]), CENTRAL)
