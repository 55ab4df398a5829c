"""Routes under `/v2/stocks`: bars, quotes and trades of the past, and the latest of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from local.exchange.http import prices
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.misbehaviour import seen_clock
from local.exchange.http.render import json_response
from local.exchange.http.series import Reader, Row, Window, bad_request, check_source, page, wanted_symbols, window_of
from local.exchange.market.bar import Bar, Timeframe
from local.exchange.market.bars import bars, daily_bar, latest_bar
from local.exchange.market.calendar import NEW_YORK, Moment
from local.exchange.market.history import last_share_print, share_prints
from local.exchange.market.market import Tick
from local.exchange.trading.exchange import Exchange

# Reads a symbol's bars from a time to another, oldest first.
ReadBars = Callable[[str, datetime, datetime], Iterable[Bar]]

# What each adjustment takes out of prices: splits, dividends.
_ADJUSTMENTS = {"raw": (False, False), "split": (True, False), "dividend": (False, True), "all": (True, True)}


async def stock_bars(request: web.Request) -> web.Response:
    """Return one page of bars, symbol by symbol; the limit counts bars over all symbols."""
    query, exchange = request.query, request.app[EXCHANGE]
    timeframe = timeframe_of(query)
    splits, dividends = _adjustment(query)
    text = prices.bar_text if timeframe.is_fine else prices.kept_bar_text

    def read(symbol: str, start: datetime, end: datetime) -> Iterable[Bar]:
        return bars(
            exchange.market,
            symbol,
            timeframe,
            now=exchange.ledger.moment,
            start=start,
            end=end,
            split_adjusted=splits,
            dividend_adjusted=dividends,
        )

    return page(query, "bars", _listed(request), _window(request), bar_rows(read, text, timeframe, NEW_YORK))


async def stock_trades(request: web.Request) -> web.Response:
    return _prints(request, "trades", prices.trade_text, request.app[EXCHANGE].ledger.moment)


async def stock_quotes(request: web.Request) -> web.Response:
    return _prints(request, "quotes", prices.quote_text, seen_clock(request).moment)


async def latest_bars(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    found = {symbol: latest_bar(exchange.market, symbol, exchange.ledger.moment) for symbol in _listed(request)}
    return json_response({"bars": {key: prices.bar_body(bar) for key, bar in found.items() if bar}})


async def latest_quotes(request: web.Request) -> web.Response:
    return json_response({"quotes": {tick.symbol: prices.quote_body(tick) for tick in _ticks(request)}})


async def latest_trades(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    found = {each: last_share_print(exchange.market, each, exchange.ledger.moment) for each in _listed(request)}
    return json_response({"trades": {symbol: prices.trade_body(last) for symbol, last in found.items() if last}})


async def snapshots(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    market, now = exchange.market, exchange.ledger.moment
    answer = {}
    for tick in _ticks(request):
        found = {
            "minuteBar": latest_bar(market, tick.symbol, now),
            "dailyBar": daily_bar(market, tick.symbol, now.session, now),
            "prevDailyBar": daily_bar(market, tick.symbol, now.session - 1, now),
        }
        last = last_share_print(market, tick.symbol, now)
        answer[tick.symbol] = {"latestQuote": prices.quote_body(tick)}
        answer[tick.symbol] |= {"latestTrade": prices.trade_body(last)} if last else {}
        answer[tick.symbol] |= {name: prices.bar_body(bar) for name, bar in found.items() if bar}
    return json_response(answer)


def timeframe_of(query: Mapping[str, str]) -> Timeframe:
    try:
        return Timeframe.parse(query.get("timeframe", "1Day"))
    except ValueError as error:
        raise bad_request(str(error)) from error


def bar_rows(read: ReadBars, text: prices.BarText, timeframe: Timeframe, zone: ZoneInfo) -> Reader:
    """Return a reader of bars in the window's order; backwards, it reads a week at a time."""

    def rows(symbol: str, window: Window) -> Iterator[Row]:
        by_weeks = window.descending and timeframe.is_intraday
        for piece in window.chunks(zone) if by_weeks else (window,):
            found = read(symbol, piece.start, piece.end)
            yield from (Row(bar.at, text(bar)) for bar in (reversed(list(found)) if window.descending else found))

    return rows


def _prints(request: web.Request, name: str, text: prices.PrintText, now: Moment) -> web.Response:
    market = request.app[EXCHANGE].market

    def read(symbol: str, window: Window) -> Iterator[Row]:
        found = share_prints(market, symbol, now=now, start=window.start, end=window.end, descending=window.descending)
        return (Row(each.at, text(each)) for each in found)

    return page(request.query, name, _listed(request), _window(request), read)


def _window(request: web.Request) -> Window:
    return window_of(request.query, request.app[EXCHANGE].ledger.now, NEW_YORK)


def _adjustment(query: Mapping[str, str]) -> tuple[bool, bool]:
    name = query.get("adjustment", "raw")
    if name not in _ADJUSTMENTS:
        raise bad_request(f"invalid adjustment: {name}")
    return _ADJUSTMENTS[name]


def _listed(request: web.Request) -> list[str]:
    """Return the wanted symbols that are listed by now; Alpaca leaves out the others."""
    check_source(request.query)
    exchange: Exchange = request.app[EXCHANGE]
    known = set(wanted_symbols(request.query)) & set(exchange.market.tape.equities)
    return [each for each in sorted(known) if exchange.market.is_listed(each, exchange.ledger.moment)]


def _ticks(request: web.Request) -> list[Tick]:
    market, moment = request.app[EXCHANGE].market, seen_clock(request).moment
    return [market.tick(symbol, moment) for symbol in _listed(request) if market.is_listed(symbol, moment)]
