"""The strategies once more, as slow and as plain as their definitions: one bar, one symbol, exact fractions."""

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

Wanted = tuple[int, int]  # long, short: 1 to enter, -1 to leave, 0 for neither
NOTHING: Wanted = (0, 0)


class SlowBar(NamedTuple):
    """One bar in whole cents."""

    high: int
    low: int
    close: int


def ma_crossover(bars: list[SlowBar], *, fast: int, slow: int) -> Wanted:
    if len(bars) < slow + 1:
        return NOTHING
    closes = [bar.close for bar in bars]
    gap = _mean(closes[-fast:]) - _mean(closes[-slow:])
    gap_before = _mean(closes[-fast - 1 : -1]) - _mean(closes[-slow - 1 : -1])
    if gap_before <= 0 < gap:
        return 1, -1
    return (-1, 1) if gap < 0 <= gap_before else NOTHING


def rsi_reversion(bars: list[SlowBar], *, period: int, low: int, high: int) -> Wanted:
    if len(bars) < period + 1:
        return NOTHING
    moves = [after.close - before.close for before, after in pairwise(bars[-period - 1 :])]
    gains = sum(move for move in moves if move > 0)
    losses = -sum(move for move in moves if move < 0)
    rsi = Fraction(100 * gains, gains + losses) if gains + losses else Fraction(50)
    if rsi < low:
        return 1, -1
    return (-1, 1) if rsi > high else NOTHING


def donchian_breakout(bars: list[SlowBar], *, entry_window: int, exit_window: int) -> Wanted:
    *earlier, bar = bars
    to_enter, to_leave = earlier[-entry_window:], earlier[-exit_window:]
    may_enter, may_leave = len(to_enter) == entry_window, len(to_leave) == exit_window
    long = short = 0
    if may_leave and bar.close < min(b.low for b in to_leave):
        long = -1
    if may_enter and bar.close > max(b.high for b in to_enter):
        long = 1
    if may_leave and bar.close > max(b.high for b in to_leave):
        short = -1
    if may_enter and bar.close < min(b.low for b in to_enter):
        short = 1
    return long, short


def momentum(rows: list[list[SlowBar | None]], *, lookback: int, skip: int, top: int, keep: int) -> list[Wanted]:
    """Judge all symbols of the newest row; each row holds one bar, or none, per symbol."""
    gains: dict[int, Fraction] = {}
    if len(rows) > lookback + skip:
        for symbol, newest in enumerate(rows[-1]):
            end, start = rows[-1 - skip][symbol], rows[-1 - skip - lookback][symbol]
            if newest is not None and end is not None and start is not None:
                gains[symbol] = Fraction(end.close, start.close) - 1
    best = sorted(gains, key=lambda symbol: (-gains[symbol], symbol))
    worst = sorted(gains, key=lambda symbol: (gains[symbol], symbol))
    return [
        (_rank(best.index(symbol), gains[symbol], top, keep), _rank(worst.index(symbol), -gains[symbol], top, keep))
        if symbol in gains and len(gains) >= 2
        else NOTHING
        for symbol in range(len(rows[-1]))
    ]


def _rank(place: int, gain: Fraction, top: int, keep: int) -> int:
    if place < top and gain > 0:
        return 1
    return -1 if place >= keep or gain <= 0 else 0


def _mean(values: list[int]) -> Fraction:
    return Fraction(sum(values), len(values))
