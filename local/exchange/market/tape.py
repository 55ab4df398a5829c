"""The tape: real daily bars, in raw prices, with the splits and dividends on the way."""

from __future__ import annotations

import csv
import gzip
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.resources import files
from itertools import pairwise

from local.exchange.market.assets import ASSETS, Asset, own_asset
from local.exchange.market.calendar import SessionCalendar, new_york_sessions

FIRST_DAY = date(2000, 3, 1)
LAST_DAY = date(2013, 3, 1)
# The calendar runs a little past the last bar so that "next open" has an answer at the end.
CALENDAR_MARGIN = timedelta(days=14)
CENT = Decimal("0.01")
DIVIDEND_STEP = Decimal("0.0001")
CRYPTO = tuple(sorted(asset.symbol for asset in ASSETS.values() if asset.is_crypto))

# Two new shares for one old share, effective at the open of the day.
SPLITS: dict[str, dict[date, int]] = {
    "AAPL": {date(2000, 6, 21): 2, date(2005, 2, 28): 2},
    "MSFT": {date(2003, 2, 18): 2},
}


@dataclass(frozen=True, slots=True)
class DailyBar:
    """One session of one symbol; prices in raw US dollars and whole cents, volume in shares."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


@dataclass(frozen=True, slots=True)
class Actions:
    """What companies did: shares for one old share, and dollars per share, by ex-date."""

    splits: Mapping[str, Mapping[date, int]] = field(default_factory=dict)
    dividends: Mapping[str, Mapping[date, Decimal]] = field(default_factory=dict)


class Tape:
    """Daily bars by symbol and session; a symbol is absent before its first bar.

    The crypto pairs belong to it by name alone: their prices are synthetic (see `crypto`).
    """

    def __init__(
        self,
        calendar: SessionCalendar,
        bars: Mapping[str, Mapping[int, DailyBar]],
        actions: Actions | None = None,
    ) -> None:
        self.calendar = calendar
        self.equities = sorted(bars)
        self.symbols = sorted([*bars, *CRYPTO])
        self.assets: dict[str, Asset] = {each: ASSETS.get(each) or own_asset(each) for each in self.symbols}
        self.actions = actions or Actions()
        self.last_session = max(max(by_session) for by_session in bars.values())
        self._bars = bars
        self._first = {symbol: min(by_session) for symbol, by_session in bars.items()}

    def bar(self, symbol: str, session: int) -> DailyBar | None:
        return self._bars.get(symbol, {}).get(session)

    def first_session(self, symbol: str) -> int:
        return self._first.get(symbol, 0)

    def split_ratio(self, symbol: str, session: int) -> int:
        """Return how many shares one share becomes at the open of `session` (1: no split)."""
        splits = self.actions.splits.get(symbol)
        return splits.get(self.calendar[session].date, 1) if splits else 1

    def splits_between(self, symbol: str, *, after: int, until: int) -> int:
        """Return the product of the split ratios after session `after` up to session `until`."""
        ratio = 1
        for day, shares in self.actions.splits.get(symbol, {}).items():
            if self.calendar[after].date < day <= self.calendar[until].date:
                ratio *= shares
        return ratio

    def dividends_between(self, symbol: str, *, after: int, until: int) -> Decimal:
        """Return the factor that takes out the dividends that went ex after `after` up to `until`."""
        factor = Decimal(1)
        for day, amount in self.actions.dividends.get(symbol, {}).items():
            if not self.calendar[after].date < day <= self.calendar[until].date:
                continue
            ex = self.calendar.index_from(day)
            before = self.bar(symbol, ex - 1)
            if before is not None:
                factor *= 1 - amount * self.split_ratio(symbol, ex) / before.close
        return factor


def load_tape() -> Tape:
    """Read the public-domain daily bars that ship with `bokeh_sampledata`.

    A price in ten is quoted in fractions of a cent; they are rounded to cents, which is what
    shares trade in here. Dividends are what the source's own adjusted closes imply.
    """
    calendar = new_york_sessions(FIRST_DAY, LAST_DAY + CALENDAR_MARGIN)
    dates = [session.date.isoformat() for session in calendar.sessions]
    bars: dict[str, dict[int, DailyBar]] = {}
    closes: dict[str, list[tuple[date, float, float]]] = {}
    for row in _rows():
        bars.setdefault(row["Ticker"], {})[bisect_left(dates, row["Date"])] = DailyBar(
            open=whole_cents(row["Open"]),
            high=whole_cents(row["High"]),
            low=whole_cents(row["Low"]),
            close=whole_cents(row["Close"]),
            volume=int(row["Volume"]),
        )
        day = date.fromisoformat(row["Date"])
        closes.setdefault(row["Ticker"], []).append((day, float(row["Close"]), float(row["Adj Close"])))
    dividends = {symbol: _implied_dividends(symbol, sorted(rows)) for symbol, rows in closes.items()}
    return Tape(calendar, bars, Actions(SPLITS, {symbol: found for symbol, found in dividends.items() if found}))


def whole_cents(price: str | Decimal) -> Decimal:
    return Decimal(price).quantize(CENT, ROUND_HALF_EVEN)


def _rows() -> csv.DictReader[str]:
    packed = files("bokeh_sampledata").joinpath("_data", "stocks.csv.gz").read_bytes()
    return csv.DictReader(gzip.decompress(packed).decode().splitlines())


def _implied_dividends(symbol: str, rows: list[tuple[date, float, float]]) -> dict[date, Decimal]:
    """Return the dividends behind the steps between closes and adjusted closes.

    From one day to the next, adjusted / raw close grows by the split's ratio and by the source's
    rule for dividends: (close + dividend) / close on the ex-date.
    """
    found: dict[date, Decimal] = {}
    for (_, close, adjusted), (day, close_then, adjusted_then) in pairwise(rows):
        kept = (adjusted / close) / (adjusted_then / close_then) * SPLITS.get(symbol, {}).get(day, 1)
        if kept < 1 - 1e-6:
            found[day] = Decimal((1 / kept - 1) * close_then).quantize(DIVIDEND_STEP)
    return found
