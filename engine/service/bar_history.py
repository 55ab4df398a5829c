"""Bar history: the completed bars that strategies look at, fetched once and extended bar by bar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import structlog

from engine.domain.broker_types import NEW_YORK, TIMEFRAME_LENGTHS, Bar, MarketTime
from engine.domain.strategies import BARS_MAX, Bars
from engine.ports.authority import StateStore
from engine.ports.market_data import MarketData

# Calendar days that hold BARS_MAX bars: a session has 6.5 hours, a year 252 sessions.
LOOK_BACK_DAYS: Final = {"5Min": 14, "15Min": 30, "30Min": 52, "1Hour": 95, "1Day": 600}
LATE_BARS_MAX: Final = 5
# A bar that has just ended may not be there yet: ask this often before waiting for the next one.
LOOKS_PER_BAR_MAX: Final = 4
RECORD_CHUNK: Final = 500
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Series:
    """A symbol's completed bars: the starts in microseconds, and per bar open, high, low, close, volume."""

    starts_us: list[int] = field(default_factory=list)
    prices: list[tuple[float, ...]] = field(default_factory=list)
    last: Bar | None = None

    def append(self, bar: Bar) -> None:
        self.last = bar
        self.starts_us.append(round(bar.at.timestamp() * 1_000_000))
        self.prices.append(tuple(map(float, (bar.open, bar.high, bar.low, bar.close, bar.volume))))
        del self.starts_us[:-BARS_MAX], self.prices[:-BARS_MAX]


@dataclass(slots=True)
class _Timeframe:
    """What is known of one timeframe."""

    series: dict[str, _Series] = field(default_factory=lambda: defaultdict(_Series))
    asked: set[str] = field(default_factory=set)
    bars_ended: int = -1  # when the last look was taken that found all there was, or was the last of its kind
    newest_at: datetime | None = None  # the newest bar then
    looks: int = 0  # taken since
    matrix: Bars | None = None  # None: outdated

    @property
    def lasts(self) -> list[datetime]:
        return [series.last.at for series in self.series.values() if series.last is not None]

    @property
    def is_level(self) -> bool:
        """Tell whether there is a newer bar, and of every symbol that was up to date before."""
        lasts = self.lasts
        if self.newest_at is None:
            return bool(lasts)
        return max(lasts) > self.newest_at and {at for at in lasts if at >= self.newest_at} == {max(lasts)}


class BarHistory:
    """One call per timeframe fetches the new bars of all its symbols; most ticks need none."""

    def __init__(self, market_data: MarketData, store: StateStore) -> None:
        self._market_data = market_data
        self._store = store
        self._known: dict[str, _Timeframe] = defaultdict(_Timeframe)
        self._unrecorded: list[Bar] = []

    def refresh(self, symbols: Iterable[str], timeframe: str, market: MarketTime) -> None:
        """Fetch what has been completed since the last call."""
        known, wanted, ended = self._known[timeframe], set(symbols), _bars_ended(timeframe, market)
        if wanted <= known.asked and ended <= known.bars_ended:
            return
        if self._extend(known, wanted, timeframe, market):
            # Splits restate every price before them: what is remembered is worth nothing then.
            log.info("prices were restated, fetching them anew", timeframe=timeframe)
            self._known[timeframe] = known = _Timeframe()
            self._extend(known, wanted, timeframe, market)
        known.asked |= wanted
        known.looks += 1
        if known.is_level or known.looks >= LOOKS_PER_BAR_MAX:
            known.bars_ended, known.newest_at, known.looks = ended, max(known.lasts, default=None), 0

    def bars(self, timeframe: str) -> Bars:
        """Return the last BARS_MAX bars of every symbol that has any, in one matrix."""
        known = self._known[timeframe]
        if known.matrix is None:
            known.matrix = Bars.aligned(
                {
                    symbol: (np.array(series.starts_us, "datetime64[us]"), np.array(series.prices))
                    for symbol, series in sorted(known.series.items())
                }
            )
        return known.matrix

    def last_bar(self, symbol: str, timeframe: str) -> Bar | None:
        series = self._known[timeframe].series.get(symbol)
        return None if series is None else series.last

    def is_settled(self, timeframe: str) -> bool:
        """Tell whether no symbol's newest bar is still waited for."""
        return self._known[timeframe].looks == 0

    def record(self) -> None:
        """Store the bars fetched since the last call, for pages and notebooks."""
        while self._unrecorded:
            self._store.record_bars(self._unrecorded[:RECORD_CHUNK])
            del self._unrecorded[:RECORD_CHUNK]

    def _extend(self, known: _Timeframe, wanted: set[str], timeframe: str, market: MarketTime) -> bool:
        """Fetch and add new bars; tell whether a known one has changed meanwhile."""
        restated = False
        fetched = self._market_data.bars(sorted(wanted), timeframe, _start(known, wanted, timeframe, market))
        for bar in fetched:
            if not market.is_complete(bar):
                continue
            last = known.series[bar.symbol].last
            if last is None or bar.at > last.at:
                known.series[bar.symbol].append(bar)
                known.matrix = None
                self._unrecorded.append(bar)
            elif bar.at == last.at and bar.close != last.close:
                restated = True
        return restated


def _start(known: _Timeframe, symbols: set[str], timeframe: str, market: MarketTime) -> datetime:
    last = known.lasts
    if not last or not symbols <= known.asked:
        return market.now - timedelta(days=LOOK_BACK_DAYS[timeframe])
    # A symbol whose bar comes late is asked for again, one that no longer trades is not waited for.
    return max(min(last), max(last) - LATE_BARS_MAX * TIMEFRAME_LENGTHS[timeframe])


def _bars_ended(timeframe: str, market: MarketTime) -> int:
    """Count the ends of bars up to now, from any fixed beginning: more of them means new bars."""
    if timeframe == "1Day":
        return market.session_date.toordinal() - (market.is_open or _opens_today(market))
    # Intraday bars end on the clock's multiples of their length.
    return int(market.now.timestamp() // TIMEFRAME_LENGTHS[timeframe].total_seconds())


def _opens_today(market: MarketTime) -> bool:
    """Tell of a closed market whether today's session is still to come."""
    return market.closes_at is not None and market.closes_at.astimezone(NEW_YORK).date() == market.session_date
