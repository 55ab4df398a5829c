"""Bars, trades and quotes as JSON in Alpaca's shape: numbers, not strings, and times in UTC."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from local.exchange.http.render import utc
from local.exchange.market.bar import Bar
from local.exchange.market.crypto import LOTS
from local.exchange.market.intraday import Print
from local.exchange.market.market import Tick

BAR_TEXTS_CACHED = 20_000

BarText = Callable[[Bar], str]
PrintText = Callable[[Print], str]


@lru_cache(BAR_TEXTS_CACHED)
def kept_bar_text(bar: Bar) -> str:
    """Return a bar as JSON; kept, since every look at the market asks for the same history."""
    return bar_text(bar)


def bar_text(bar: Bar) -> str:
    return _text(bar_body(bar))


def bar_body(bar: Bar) -> dict[str, Any]:
    return {
        "t": utc(bar.at),
        "o": float(bar.open),
        "h": float(bar.high),
        "l": float(bar.low),
        "c": float(bar.close),
        "v": float(bar.volume) if isinstance(bar.volume, Decimal) else bar.volume,
        "n": bar.trades,
        "vw": float(bar.vwap),
    }


def quote_body(tick: Tick) -> dict[str, Any]:
    prices = {"ap": float(tick.ask), "as": tick.ask_size, "bp": float(tick.bid), "bs": tick.bid_size}
    return {"t": utc(tick.at)} | prices | _VENUE_OF_QUOTE


def crypto_quote_body(tick: Tick) -> dict[str, Any]:
    body = quote_body(tick)
    return {name: body[name] for name in ("t", "ap", "as", "bp", "bs")}


def trade_body(found: Print) -> dict[str, Any]:
    return {"t": utc(found.at), "p": found.cents / 100, "s": found.size, "i": found.number} | _VENUE_OF_TRADE


def crypto_trade_body(found: Print) -> dict[str, Any]:
    taker = "B" if found.number % 2 else "S"
    return {"t": utc(found.at), "p": found.cents / 100, "s": found.size / LOTS, "i": found.number, "tks": taker}


def trade_text(found: Print) -> str:
    return _text(trade_body(found))


def crypto_trade_text(found: Print) -> str:
    return _text(crypto_trade_body(found))


def quote_text(found: Print) -> str:
    return _text(_past_quote(found) | _VENUE_OF_QUOTE)


def crypto_quote_text(found: Print) -> str:
    return _text(_past_quote(found) | {"as": found.ask_size // 100, "bs": found.bid_size // 100})


def _past_quote(found: Print) -> dict[str, Any]:
    return {
        "t": utc(found.at),
        "ap": found.ask_cents / 100,
        "as": found.ask_size,
        "bp": found.bid_cents / 100,
        "bs": found.bid_size,
    }


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"))


_VENUE_OF_QUOTE = {"ax": "V", "bx": "V", "c": ["R"], "z": "C"}
_VENUE_OF_TRADE = {"x": "V", "c": ["@"], "z": "C"}
