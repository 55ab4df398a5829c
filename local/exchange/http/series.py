"""Series over time in pages: what is asked for, and where a page ends and the next one begins.

A page lists one symbol after another; its limit counts rows over all of them. The token names the
row that comes next, so that a page is found again without reading those before it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from aiohttp import web

from local.exchange.http import params
from local.exchange.trading.errors import Refusal, not_simulated
from local.exchange.trading.listing import Direction

PAGE_LIMIT_DEFAULT = 1_000
PAGE_LIMIT_MAX = 10_000
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
CHUNK = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)
FEEDS = ("iex", "sip")
FEEDS_OF_ALPACA = (*FEEDS, "delayed_sip", "otc", "boats", "overnight")


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is asked for, both ends included, and in which order."""

    start: datetime
    end: datetime
    descending: bool

    def chunks(self, zone: ZoneInfo) -> Iterator[Window]:
        """Cut the window at every seventh midnight of `zone`; the pieces come in the window's order."""
        edges = [self.start]
        midnight = datetime.combine(self.start.astimezone(zone).date(), time(), zone)
        while (midnight := midnight + CHUNK) < self.end:
            edges.append(midnight.astimezone(UTC))
        pieces = [replace(self, start=a, end=b - MICROSECOND) for a, b in pairwise(edges)]
        pieces.append(replace(self, start=edges[-1]))
        yield from reversed(pieces) if self.descending else pieces

    def from_row(self, at: datetime) -> Window:
        """Return what is left of the window from the row at `at` on, itself included."""
        at = min(max(at, self.start), self.end)
        return replace(self, end=min(self.end, at)) if self.descending else replace(self, start=max(self.start, at))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a series: its time, and itself as JSON."""

    at: datetime
    text: str


# Reads the rows of a symbol within a window, in the window's order.
Reader = Callable[[str, Window], Iterable[Row]]


def window_of(query: Mapping[str, str], now: datetime, zone: ZoneInfo, order: Direction = Direction.ASC) -> Window:
    """Return the window of a request: from `zone`'s midnight until `now`, unless it says otherwise."""
    start, end = params.moment(query, "start"), params.moment(query, "end", end_of_day=True)
    if start and end and end < start:
        raise bad_request("end should not be before start")
    today = datetime.combine(now.astimezone(zone).date(), time(), zone)
    descending = params.choice(query, "sort", order) is Direction.DESC
    start = start or today.astimezone(now.tzinfo)
    # Nothing is older than the tape or newer than now; times far beyond either cannot be reckoned with.
    return Window(min(max(start, EARLIEST), now + timedelta(days=1)), max(min(end or now, now), EARLIEST), descending)


def page(query: Mapping[str, str], name: str, symbols: Iterable[str], window: Window, read: Reader) -> web.Response:
    """Return one page of the series `name` of all `symbols`."""
    limit = params.count(query, "limit", default=PAGE_LIMIT_DEFAULT, highest=PAGE_LIMIT_MAX)
    rows: dict[str, list[str]] = {}
    for number, (symbol, row) in enumerate(_from_token(query.get("page_token"), symbols, window, read)):
        if number == limit:
            return _response(name, rows, _token(symbol, row.at))
        rows.setdefault(symbol, []).append(row.text)
    return _response(name, rows, None)


def wanted_symbols(query: Mapping[str, str]) -> list[str]:
    """Return the symbols of a request, each once."""
    wanted = sorted(set(params.symbols(query)))
    if not wanted:
        raise bad_request("symbols is required")
    return wanted


def check_source(query: Mapping[str, str]) -> None:
    """Refuse feeds and currencies that there are no prices of; IEX and SIP are the same here."""
    feed, currency = query.get("feed", "iex"), query.get("currency", "USD")
    if feed not in FEEDS_OF_ALPACA:
        raise bad_request(f"invalid feed: {feed}")
    if feed not in FEEDS:
        raise not_simulated(f"feed {feed} (there are iex and sip)")
    if currency.upper() != "USD":
        raise not_simulated(f"currency {currency} (all prices are in USD)")


def bad_request(message: str) -> Refusal:
    return Refusal(400, None, message)


def _from_token(token: str | None, symbols: Iterable[str], window: Window, read: Reader) -> Iterator[tuple[str, Row]]:
    first_symbol, first_at = _read_token(token)
    for symbol in sorted(symbols):
        if symbol < first_symbol:
            continue
        left = window.from_row(first_at) if first_at and symbol == first_symbol else window
        for row in read(symbol, left):
            yield symbol, row


def _token(symbol: str, at: datetime) -> str:
    return base64.b64encode(f"{symbol}|{at.isoformat()}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, datetime | None]:
    if not token:
        return "", None
    try:
        symbol, _, at = base64.b64decode(token, validate=True).decode().partition("|")
        when = datetime.fromisoformat(at)
    except (ValueError, binascii.Error) as error:
        raise bad_request("invalid page_token") from error
    if when.tzinfo is None:
        raise bad_request("invalid page_token")
    return symbol, when


def _response(name: str, rows: Mapping[str, list[str]], token: str | None) -> web.Response:
    lists = ",".join(f'"{symbol}":[{",".join(texts)}]' for symbol, texts in rows.items())
    text = f'{{"{name}":{{{lists}}},"next_page_token":{json.dumps(token)}}}'
    return web.Response(text=text, content_type="application/json")
