"""The tape: real daily bars, in raw prices, with the splits that happened on the way."""

from __future__ import annotations

import csv
import gzip
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files

from local.exchange.market.calendar import SessionCalendar, new_york_sessions

FIRST_DAY = date(2000, 3, 1)
LAST_DAY = date(2013, 3, 1)

# Two new shares for one old share, effective at the open of the day.
SPLITS: dict[str, dict[date, int]] = {
    "AAPL": {date(2000, 6, 21): 2, date(2005, 2, 28): 2},
    "MSFT": {date(2003, 2, 18): 2},
}


@dataclass(frozen=True, slots=True)
class DailyBar:
    """One real session of one symbol; prices in raw US dollars, volume in shares."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


class Tape:
    """Daily bars by symbol and session; a symbol is absent before its first bar."""

    def __init__(self, calendar: SessionCalendar, bars: dict[str, dict[int, DailyBar]]) -> None:
        self.calendar = calendar
        self.symbols = sorted(bars)
        self.last_session = max(max(by_session) for by_session in bars.values())
        self._bars = bars
        self._first = {symbol: min(by_session) for symbol, by_session in bars.items()}

    def bar(self, symbol: str, session: int) -> DailyBar | None:
        return self._bars[symbol].get(session)

    def first_session(self, symbol: str) -> int:
        return self._first[symbol]

    def split_ratio(self, symbol: str, session: int) -> int:
        """Return how many shares one share becomes at the open of `session` (1: no split)."""
        return SPLITS.get(symbol, {}).get(self.calendar[session].date, 1)

    def splits_between(self, symbol: str, *, after: int, until: int) -> int:
        """Return the product of the split ratios after session `after` up to session `until`."""
        ratio = 1
        for day, shares in SPLITS.get(symbol, {}).items():
            if self.calendar[after].date < day <= self.calendar[until].date:
                ratio *= shares
        return ratio


def load_tape() -> Tape:
    """Read the public-domain daily bars that ship with `bokeh_sampledata`."""
    # The calendar runs a little past the last bar so that "next open" has an answer at the end.
    calendar = new_york_sessions(FIRST_DAY, LAST_DAY + timedelta(days=14))
    dates = [session.date.isoformat() for session in calendar.sessions]
    bars: dict[str, dict[int, DailyBar]] = {}
    packed = files("bokeh_sampledata").joinpath("_data", "stocks.csv.gz").read_bytes()
    for row in csv.DictReader(gzip.decompress(packed).decode().splitlines()):
        session = bisect_left(dates, row["Date"])
        bars.setdefault(row["Ticker"], {})[session] = DailyBar(
            open=Decimal(row["Open"]),
            high=Decimal(row["High"]),
            low=Decimal(row["Low"]),
            close=Decimal(row["Close"]),
            volume=int(row["Volume"]),
        )
    return Tape(calendar, bars)
