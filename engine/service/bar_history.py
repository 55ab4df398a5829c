"""Bar history: the completed bars that strategies look at, fetched once and extended bar by bar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from engine.domain.broker_types import TIMEFRAME_LENGTHS, Bar, MarketTime
from engine.domain.strategies import Closes
from engine.ports.authority import StateStore
from engine.ports.market_data import MarketData

CLOSES_KEPT: Final = 400
# How far to look back the first time: enough calendar days for any strategy's first decision.
LOOK_BACK: Final = {"1Day": timedelta(days=180)}
LOOK_BACK_INTRADAY: Final = timedelta(days=21)
LATE_BARS_MAX: Final = 5
RECORD_CHUNK: Final = 500


class BarHistory:
    """One call per timeframe fetches the new bars of all its symbols; most ticks need none."""

    def __init__(self, market_data: MarketData, store: StateStore) -> None:
        self._market_data = market_data
        self._store = store
        self._last: dict[tuple[str, str], Bar] = {}
        self._closes: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._checked_at: dict[str, MarketTime] = {}
        self._asked: dict[str, set[str]] = defaultdict(set)
        self._unrecorded: list[Bar] = []

    def refresh(self, symbols: Iterable[str], timeframe: str, market: MarketTime) -> None:
        """Fetch what has been completed since the last call."""
        wanted = set(symbols)
        if wanted <= self._asked[timeframe] and not self._may_have_new(timeframe, market):
            return
        fetched = self._market_data.bars(sorted(wanted), timeframe, self._start(wanted, timeframe, market))
        for bar in fetched:
            self._append(bar, market)
        self._asked[timeframe] |= wanted
        self._checked_at[timeframe] = market

    def closes(self, symbol: str, timeframe: str) -> Closes:
        """Return closing prices, oldest first."""
        return np.array(self._closes[symbol, timeframe], dtype=np.float64)

    def last_bar(self, symbol: str, timeframe: str) -> Bar | None:
        return self._last.get((symbol, timeframe))

    def record(self) -> None:
        """Store the bars fetched since the last call, for pages and notebooks."""
        while self._unrecorded:
            self._store.record_bars(self._unrecorded[:RECORD_CHUNK])
            del self._unrecorded[:RECORD_CHUNK]

    def _may_have_new(self, timeframe: str, market: MarketTime) -> bool:
        return _bars_ended(timeframe, market) > _bars_ended(timeframe, self._checked_at[timeframe])

    def _start(self, symbols: set[str], timeframe: str, market: MarketTime) -> datetime:
        last = [self.last_bar(symbol, timeframe) for symbol in symbols]
        known = [bar.at for bar in last if bar is not None]
        if not known or not symbols <= self._asked[timeframe]:
            return market.now - LOOK_BACK.get(timeframe, LOOK_BACK_INTRADAY)
        # A symbol whose bar comes late is asked for again, one that no longer trades is not waited for.
        return max(min(known), max(known) - LATE_BARS_MAX * TIMEFRAME_LENGTHS[timeframe])

    def _append(self, bar: Bar, market: MarketTime) -> None:
        key = bar.symbol, bar.timeframe
        last = self._last.get(key)
        if market.is_complete(bar) and (last is None or bar.at > last.at):
            self._last[key] = bar
            self._closes[key].append(float(bar.close))
            del self._closes[key][:-CLOSES_KEPT]
            self._unrecorded.append(bar)


def _bars_ended(timeframe: str, market: MarketTime) -> int:
    """Count the ends of bars up to now, from any fixed beginning: more of them means new bars."""
    if timeframe == "1Day":
        return market.session_date.toordinal() - market.is_open
    # Intraday bars end on the clock's multiples of their length.
    return int(market.now.timestamp() // TIMEFRAME_LENGTHS[timeframe].total_seconds())
