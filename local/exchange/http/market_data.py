"""Routes under `/v2/stocks`: bars with paging, and the latest bar, quote and trade."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import json_response, utc
from local.exchange.market.bars import Bar, Timeframe, bars, daily_bar, latest_bar
from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.market import Tick
from local.exchange.trading.errors import Refusal, not_simulated
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.listing import Direction

PAGE_LIMIT_DEFAULT = 1_000
PAGE_LIMIT_MAX = 10_000
BAR_TEXTS_CACHED = 20_000


async def stock_bars(request: web.Request) -> web.Response:
    """Return one page of bars, symbol by symbol; the limit counts bars over all symbols."""
    query, exchange = request.query, request.app[EXCHANGE]
    limit = params.count(query, "limit", default=PAGE_LIMIT_DEFAULT, highest=PAGE_LIMIT_MAX)
    page: dict[str, list[str]] = {}
    for number, (symbol, bar) in enumerate(_from_token(request, exchange)):
        if number == limit:
            token = base64.b64encode(f"{symbol}|{bar.at.isoformat()}".encode()).decode()
            return _page_response(page, token)
        page.setdefault(symbol, []).append(_bar_text(bar))
    return _page_response(page, None)


async def latest_bars(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    found = {
        symbol: latest_bar(exchange.market, symbol, exchange.ledger.moment) for symbol in _listed(request, exchange)
    }
    return json_response({"bars": {key: _bar_body(bar) for key, bar in found.items() if bar}})


async def latest_quotes(request: web.Request) -> web.Response:
    return json_response({"quotes": {t.symbol: _quote_body(t) for t in _ticks(request)}})


async def latest_trades(request: web.Request) -> web.Response:
    return json_response({"trades": {t.symbol: _trade_body(t) for t in _ticks(request)}})


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
        answer[tick.symbol] = {"latestTrade": _trade_body(tick), "latestQuote": _quote_body(tick)}
        answer[tick.symbol] |= {name: _bar_body(bar) for name, bar in found.items() if bar}
    return json_response(answer)


def _from_token(request: web.Request, exchange: Exchange) -> Iterator[tuple[str, Bar]]:
    """Yield (symbol, bar) in page order, from where the page token points on."""
    query = request.query
    descending = params.choice(query, "sort", Direction.ASC) is Direction.DESC
    first_symbol, first_at = _read_token(query.get("page_token"))
    for symbol in sorted(_listed(request, exchange)):
        if symbol < first_symbol:
            continue
        found = _bars_of(request, exchange, symbol)
        for bar in reversed(list(found)) if descending else found:
            if symbol != first_symbol or _has_reached(bar.at, first_at, descending=descending):
                yield symbol, bar


def _has_reached(at: datetime, first_at: datetime | None, *, descending: bool) -> bool:
    if first_at is None:
        return True
    return at <= first_at if descending else at >= first_at


def _bars_of(request: web.Request, exchange: Exchange, symbol: str) -> Iterator[Bar]:
    query, now = request.query, exchange.ledger.now
    adjustment = query.get("adjustment", "raw")
    if adjustment not in ("raw", "split"):
        raise not_simulated(f"adjustment {adjustment}")
    today = now.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
    return bars(
        exchange.market,
        symbol,
        _timeframe(query.get("timeframe", "1Day")),
        now=exchange.ledger.moment,
        start=params.moment(query, "start") or today,
        end=min(params.moment(query, "end", end_of_day=True) or now, now),
        split_adjusted=adjustment == "split",
    )


def _timeframe(text: str) -> Timeframe:
    try:
        timeframe = Timeframe.parse(text)
    except ValueError as error:
        raise Refusal(400, None, str(error)) from error
    if not timeframe.is_simulated:
        raise not_simulated(f"timeframe {text} (the shortest is 5Min, and multiples of it)")
    return timeframe


def _read_token(token: str | None) -> tuple[str, datetime | None]:
    if not token:
        return "", None
    try:
        symbol, _, at = base64.b64decode(token, validate=True).decode().partition("|")
        return symbol, datetime.fromisoformat(at)
    except (ValueError, binascii.Error) as error:
        raise Refusal(400, None, "invalid page_token") from error


def _listed(request: web.Request, exchange: Exchange) -> list[str]:
    """Return the wanted symbols that are listed by now; Alpaca leaves out the others."""
    wanted = params.symbols(request.query)
    if not wanted:
        raise Refusal(400, None, "symbols is required")
    known = set(wanted) & set(exchange.market.tape.symbols)
    return [each for each in sorted(known) if exchange.market.is_listed(each, exchange.ledger.moment)]


def _ticks(request: web.Request) -> list[Tick]:
    exchange = request.app[EXCHANGE]
    moment = exchange.ledger.moment
    return [exchange.market.tick(symbol, moment) for symbol in _listed(request, exchange)]


def _page_response(page: dict[str, list[str]], token: str | None) -> web.Response:
    lists = ",".join(f'"{symbol}":[{",".join(texts)}]' for symbol, texts in page.items())
    text = f'{{"bars":{{{lists}}},"next_page_token":{json.dumps(token)}}}'
    return web.Response(text=text, content_type="application/json")


@lru_cache(BAR_TEXTS_CACHED)
def _bar_text(bar: Bar) -> str:
    """Return a bar as JSON; kept, since every look at the market asks for the same history."""
    return json.dumps(_bar_body(bar), separators=(",", ":"))


def _bar_body(bar: Bar) -> dict[str, Any]:
    return {
        "t": utc(bar.at),
        "o": float(bar.open),
        "h": float(bar.high),
        "l": float(bar.low),
        "c": float(bar.close),
        "v": bar.volume,
        "n": bar.trades,
        "vw": float(bar.vwap),
    }


def _quote_body(tick: Tick) -> dict[str, Any]:
    return {
        "t": utc(tick.at),
        "ax": "V",
        "ap": float(tick.ask),
        "as": tick.ask_size,
        "bx": "V",
        "bp": float(tick.bid),
        "bs": tick.bid_size,
        "c": ["R"],
        "z": "C",
    }


def _trade_body(tick: Tick) -> dict[str, Any]:
    body = {"t": utc(tick.at), "x": "V", "p": float(tick.trade), "s": tick.size}
    return body | {"c": ["@"], "i": int(tick.at.timestamp()), "z": "C"}
