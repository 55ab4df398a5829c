"""Bars as strategies see them: matrices with time down and symbols across."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from engine.domain.indicators import Matrix

Times = NDArray[np.datetime64]
PRICES: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Bars:
    """Complete bars of some symbols, oldest first.

    Attributes
    ----------
    symbols : the columns
    at : datetime64[us] in UTC (time x symbols), when each bar began; NaT where a symbol has no bar
    open, high, low, close, volume : float64 (time x symbols), US dollars and shares; NaN where there is no bar
    """

    symbols: tuple[str, ...]
    at: Times
    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    volume: Matrix

    @classmethod
    def aligned(cls, columns: Mapping[str, tuple[Times, Matrix]]) -> Bars:
        """Lay symbols side by side, bars of the same time in one row.

        Parameters
        ----------
        columns : per symbol its bars' ascending starts (bars) and their PRICES (bars x 5)
        """
        grid = np.unique(np.concatenate([np.empty(0, "datetime64[us]"), *(at for at, _ in columns.values())]))
        at = np.full((len(grid), len(columns)), np.datetime64("NaT"), "datetime64[us]")
        values = np.full((len(PRICES), len(grid), len(columns)), np.nan)
        for column, (starts, prices) in enumerate(columns.values()):
            rows = np.searchsorted(grid, starts)
            at[rows, column] = starts
            values[:, rows, column] = prices.T
        return cls(tuple(columns), at, *values)

    @classmethod
    def from_frames(cls, frames: Mapping[str, pd.DataFrame]) -> Bars:
        """Lay data frames side by side.

        Parameters
        ----------
        frames : per symbol a frame with `bar_at` (aware, ascending) and the columns PRICES, as
            `db.queries.bars.price_bars` returns it
        """
        return cls.aligned({symbol: _column(frame) for symbol, frame in frames.items()})

    def frame(self, name: str) -> pd.DataFrame:
        """Return one of PRICES as a frame by time (aware UTC), one column per symbol."""
        return pd.DataFrame(getattr(self, name), index=self.times, columns=list(self.symbols))

    @property
    def times(self) -> pd.DatetimeIndex:
        """When each row began; NaT for a row without any bar."""
        return pd.DatetimeIndex(np.fmax.reduce(self.at, axis=1, initial=np.datetime64("NaT")), tz="UTC")

    def select(self, symbols: Sequence[str]) -> Bars:
        """Return some of the symbols in the given order, without the rows that none of them has a bar in."""
        chosen = [self.symbols.index(symbol) for symbol in symbols]
        narrowed = self._each(lambda values: values[:, chosen], symbols=tuple(symbols))
        bare = np.isnat(narrowed.at).all(axis=1)
        return narrowed._each(lambda values: values[~bare]) if bare.any() else narrowed

    def head(self, rows: int) -> Bars:
        """Return the first rows."""
        return self._each(lambda values: values[:rows])

    def tail(self, rows: int) -> Bars:
        """Return the last rows."""
        return self._each(lambda values: values[max(len(values) - rows, 0) :])

    def order_of_bars(self) -> NDArray[np.intp] | None:
        """Return for each symbol its rows, those without a bar first; None when that is how they lie."""
        missing = np.isnan(self.close)
        if not (missing[1:] & ~missing[:-1]).any():
            return None
        return np.argsort(~missing, axis=0, kind="stable")

    def packed(self) -> Bars:
        """Move each symbol's own bars together, down to the last row: gaps of single symbols disappear.

        A row is no longer one moment for all symbols; `at` still tells each bar's own.
        """
        order = self.order_of_bars()
        return self if order is None else self._each(lambda values: np.take_along_axis(values, order, axis=0))

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]], symbols: tuple[str, ...] | None = None) -> Bars:
        matrices = (change(getattr(self, name)) for name in ("at", *PRICES))
        return Bars(self.symbols if symbols is None else symbols, *matrices)


def _column(frame: pd.DataFrame) -> tuple[Times, Matrix]:
    starts = frame["bar_at"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    return starts, frame[list(PRICES)].to_numpy(np.float64)
