"""Indicators over matrices of bars: time down, symbols across, oldest bar first.

They are statistics, not money, so they are computed on floats; whatever becomes a price or a quantity is Decimal
again (see sizing). Each looks back over a fixed number of bars and no further, so that a restarted engine, which
remembers less, sees the same values. Where a bar of the window is missing (NaN), so is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Averages of a flat price differ by rounding noise, which is no difference: compare after rounding far below a cent.
NOISE_DIGITS: Final = 9


def moving_average(values: Matrix, period: int) -> Matrix:
    """Return the mean of the last `period` values.

    Parameters
    ----------
    values : Matrix (time x symbols)

    Returns
    -------
    Matrix of the same shape; NaN for the first period - 1 rows
    """
    return _over_windows(np.mean, values, period)


def highest(values: Matrix, period: int) -> Matrix:
    """Return the largest of the last `period` values; shape as in `moving_average`."""
    return _over_windows(np.max, values, period)


def lowest(values: Matrix, period: int) -> Matrix:
    """Return the smallest of the last `period` values; shape as in `moving_average`."""
    return _over_windows(np.min, values, period)


def deviation(values: Matrix, period: int) -> Matrix:
    """Return the standard deviation of the last `period` values; shape as in `moving_average`."""
    return _over_windows(np.std, values, period)


def before(values: Matrix, bars: int) -> Matrix:
    """Return each value as it was `bars` bars earlier; NaN for the first rows."""
    earlier = np.full_like(values, np.nan)
    earlier[bars:] = values[: max(len(values) - bars, 0)]
    return earlier


def relative_strength(closes: Matrix, period: int) -> Matrix:
    """Return the relative strength index (0 to 100) over plain averages; 50 where nothing moved.

    Cutler's form: unlike Wilder's smoothing it does not depend on where the history begins.

    Returns
    -------
    Matrix of the same shape; NaN for the first `period` rows
    """
    moves = closes - before(closes, 1)
    gains = moving_average(np.maximum(moves, 0.0), period)
    total = gains + moving_average(np.maximum(-moves, 0.0), period)
    flat = np.where(np.isnan(total), np.nan, 50.0)
    np.divide(100.0 * gains, total, out=flat, where=total > 0)
    return flat.round(NOISE_DIGITS)


def change(closes: Matrix, bars: int) -> Matrix:
    """Return the relative change over `bars` bars: 0.1 is 10 % up; NaN for the first `bars` rows."""
    earlier = before(closes, bars)
    known = np.full_like(closes, np.nan)
    np.divide(closes, earlier, out=known, where=earlier > 0)
    return (known - 1.0).round(NOISE_DIGITS)


def _over_windows(measure: Callable[..., Matrix], values: Matrix, period: int) -> Matrix:
    result = np.full_like(values, np.nan)
    if len(values) >= period:
        windows = sliding_window_view(values, period, axis=0)
        result[period - 1 :] = measure(windows, axis=-1)
    return result
