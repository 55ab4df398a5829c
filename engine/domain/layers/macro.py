"""The macro layer: no new long positions below the index's long average, no new short ones above it."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.domain.indicators import NOISE_DIGITS, Matrix, change, moving_average
from engine.domain.layers.layer import Ruling, wants
from engine.domain.risk_config import ALL_TRADED
from engine.domain.strategies.bars import Bars

NAME: Final = "macro"


def regime(daily: Bars, window_bars: int) -> Matrix:
    """Return how far the index is above (or, negative, below) its average, as a fraction of the average.

    Parameters
    ----------
    daily : bars of the index; of several symbols, their average in equal parts is the index

    Returns
    -------
    Matrix (time,), NaN for the first window_bars - 1 rows; looks back no further than the window
    """
    if len(daily.symbols) == 1:
        levels = daily.close
    else:
        levels = _basket(daily.close)
    return (levels / moving_average(levels, window_bars) - 1.0).round(NOISE_DIGITS)[:, 0]


class MacroLayer:
    """Judges by the newest daily bar of the index."""

    def __init__(self, daily: Bars, window_bars: int, *, index: str) -> None:
        self._window_bars = window_bars
        self._name = index
        self._hint = f" Check that the broker has prices of {index}."
        if index == ALL_TRADED:
            self._name, self._hint = f"the average of {len(daily.symbols)} symbols", ""
        bars = daily.packed().tail(window_bars) if len(daily.symbols) == 1 else daily.tail(window_bars)
        self._bars_known = int((~np.isnan(bars.close)).any(axis=1).sum())
        self._above = float(regime(bars, window_bars)[-1]) if bars.close.size else float("nan")

    def rule(self, symbol: str, side: str) -> Ruling:
        """Judge an entry; while the regime is not known, none passes."""
        facts = {"index": self._name, "window_bars": self._window_bars}
        if np.isnan(self._above):
            known = f"Only {self._bars_known} of {self._window_bars} daily bars of {self._name} are known"
            return Ruling(NAME, False, f"{known}: no new positions until they are.{self._hint}", facts)
        where = "above" if self._above >= 0 else "below"
        state = f"{self._name} is {abs(self._above):.1%} {where} its average of {self._window_bars} days"
        passed = wants(self._above, side)
        reason = f"{state}." if passed else f"{state}: no new {side} positions."
        return Ruling(NAME, passed, reason[0].upper() + reason[1:], facts | {"above_pct": self._above})


def _basket(closes: Matrix) -> Matrix:
    """Chain the mean daily change of the symbols that have a bar on both days; a column of levels from 1."""
    changes = change(closes, 1)
    known = ~np.isnan(changes)
    counted = known.sum(axis=1)
    means = np.divide(np.where(known, changes, 0.0).sum(axis=1), counted, out=np.zeros(len(closes)), where=counted > 0)
    return np.cumprod(1.0 + means)[:, np.newaxis]
