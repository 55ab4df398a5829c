"""`/v1beta1/news`: synthetic headlines, and those that a user adds over `/_sim/news`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import dropwhile, islice
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.crypto_data import time_of
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import json_response, utc
from local.exchange.http.series import Window, bad_request, window_of
from local.exchange.http.watchlists import SHELF
from local.exchange.market.assets import find_among
from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.news import AUTHOR, SOURCE, Headline, synthetic_headlines
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.listing import Direction

PAGE_LIMIT_DEFAULT = 10
PAGE_LIMIT_MAX = 50
OWN_NUMBERS_FROM = 10**15
TEXT_LENGTH_MAX = 10_000


async def news(request: web.Request) -> web.Response:
    """Return one page of headlines, the newest first unless the request says otherwise."""
    query, exchange = request.query, request.app[EXCHANGE]
    limit = params.count(query, "limit", default=PAGE_LIMIT_DEFAULT, highest=PAGE_LIMIT_MAX)
    window = window_of(query, time_of(exchange), NEW_YORK, Direction.DESC)
    number, at = _read_token(query.get("page_token"))
    if at:
        window = window.from_row(at)
    rows = _from_row(_in_order(request, window), number)
    page, rest = list(islice(rows, limit)), next(rows, None)
    with_content = params.flag(query, "include_content")
    bodies = [row if with_content else row | {"content": ""} for row in page]
    return json_response({"news": bodies, "next_page_token": _token(rest) if rest else None})


async def add(request: web.Request) -> web.Response:
    """Add a headline: it appears at `at` (simulated time), or now."""
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    at = params.moment({"at": str(body.get("at") or "")}, "at") or time_of(exchange)
    kept: dict[str, Any] = {
        name: _text(body, name) for name in ("headline", "summary", "content", "url", "author", "source")
    }
    if not kept["headline"]:
        raise invalid("headline is required")
    kept["symbols"] = _symbols(exchange, body.get("symbols") or [])
    number = request.app[SHELF].add_headline(exchange.ledger.state.ledger_id, at, kept)
    return json_response(_own_row(number, at, kept))


def _in_order(request: web.Request, window: Window) -> Iterator[dict[str, Any]]:
    """Yield headlines in the window's order, made a week at a time: most requests want a few."""
    for piece in window.chunks(NEW_YORK):
        yield from _rows(request, piece)


def _from_row(rows: Iterator[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    """Skip the rows of the same time before the one of a page token (0: there is none)."""
    return dropwhile(lambda row: row["id"] != number, rows) if number else rows


def _rows(request: web.Request, window: Window) -> list[dict[str, Any]]:
    query, exchange = request.query, request.app[EXCHANGE]
    assets, wanted = exchange.market.tape.assets, params.symbols(query)
    known = [found.symbol for found in (find_among(assets, name) for name in wanted) if found]
    symbols = known if wanted else list(assets)
    listed = [each for each in symbols if exchange.market.is_listed(each, exchange.ledger.moment)]
    rows = [_row(each) for each in synthetic_headlines(exchange.market, listed, window.start, window.end)]
    own = request.app[SHELF].headlines(exchange.ledger.state.ledger_id, window.start, window.end)
    names = {name.replace("/", "") for name in wanted}
    rows += [_own_row(*each) for each in own if not wanted or names & set(each[2]["symbols"])]
    if params.flag(query, "exclude_contentless"):
        rows = [row for row in rows if row["content"]]
    return sorted(rows, key=lambda row: (row["created_at"], row["id"]), reverse=window.descending)


def _row(found: Headline) -> dict[str, Any]:
    texts = {"headline": found.text, "summary": found.summary, "content": found.content, "url": None}
    return _article(found.number, found.at, texts | {"author": AUTHOR, "source": SOURCE, "symbols": found.symbols})


def _own_row(number: int, at: datetime, kept: dict[str, Any]) -> dict[str, Any]:
    return _article(OWN_NUMBERS_FROM + number, at, kept)


def _article(number: int, at: datetime, texts: dict[str, Any]) -> dict[str, Any]:
    times = {"created_at": utc(at), "updated_at": utc(at)}
    return {"id": number} | times | texts | {"symbols": list(texts["symbols"]), "images": []}


def _symbols(exchange: Exchange, symbols: object) -> list[str]:
    if not isinstance(symbols, list):
        raise invalid("symbols must be a list")
    found = [find_among(exchange.market.tape.assets, str(symbol)) for symbol in symbols]
    for symbol, asset in zip(symbols, found, strict=True):
        if asset is None:
            raise invalid(f"unknown symbol: {symbol}")
    return [asset.symbol.replace("/", "") for asset in found if asset]


def _text(body: dict[str, Any], name: str) -> str:
    defaults = {"author": "user", "source": "user"}
    text = body.get(name, defaults.get(name, ""))
    if not isinstance(text, str) or len(text) > TEXT_LENGTH_MAX:
        raise invalid(f"{name} must be text of at most {TEXT_LENGTH_MAX} characters")
    return text


def _token(row: dict[str, Any]) -> str:
    return base64.b64encode(f"{row['id']}|{row['created_at']}".encode()).decode()


def _read_token(token: str | None) -> tuple[int, datetime | None]:
    if not token:
        return 0, None
    try:
        number, _, at = base64.b64decode(token, validate=True).decode().partition("|")
        when = datetime.fromisoformat(at)
        return int(number), when if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, binascii.Error) as error:
        raise bad_request("invalid page_token") from error
