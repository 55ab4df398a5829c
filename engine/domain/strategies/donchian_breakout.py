"""Donchian breakout: go with a price that leaves the range of its last bars."""

from __future__ import annotations

import numpy as np

from engine.domain.indicators import before, highest, lowest
from engine.domain.strategies.bars import Bars
from engine.domain.strategies.strategy import Move, Params, Strategy, Verdicts, Window, signs


class DonchianBreakoutParams(Params):
    """Windows in bars, the judged bar itself not among them."""

    entry_window: Window
    exit_window: Window


def judge(bars: Bars, params: DonchianBreakoutParams) -> Verdicts:
    """Enter long on a close above the highest high of the entry window, short on one below its lowest low.

    A position ends on a close through the other side of the exit window.
    """
    top = before(highest(bars.high, params.entry_window), 1)
    bottom = before(lowest(bars.low, params.entry_window), 1)
    exit_top = before(highest(bars.high, params.exit_window), 1)
    exit_bottom = before(lowest(bars.low, params.exit_window), 1)
    close, width = bars.close, top - bottom
    beyond = np.maximum(close - top, bottom - close)
    return Verdicts(
        long=signs(close > top, close < exit_bottom),
        short=signs(close < bottom, close > exit_top),
        strength=np.divide(beyond, width, out=np.ones_like(close), where=width > 0),
        facts={"close": close, "top": top, "bottom": bottom, "exit_top": exit_top, "exit_bottom": exit_bottom},
    )


DONCHIAN_BREAKOUT = Strategy(
    name="donchian_breakout",
    about="Goes with a price that closes outside the range of its last bars.",
    params=DonchianBreakoutParams,
    judge=judge,
    bars_needed=lambda params: max(params.entry_window, params.exit_window) + 1,
    reasons={
        Move.ENTER_LONG: "close {close:.2f} is above {top:.2f}, the highest of {entry_window} bars",
        Move.EXIT_LONG: "close {close:.2f} is below {exit_bottom:.2f}, the lowest of {exit_window} bars",
        Move.ENTER_SHORT: "close {close:.2f} is below {bottom:.2f}, the lowest of {entry_window} bars",
        Move.EXIT_SHORT: "close {close:.2f} is above {exit_top:.2f}, the highest of {exit_window} bars",
    },
)
