"""Moving-average crossover: follow a trend once the fast average has crossed the slow one."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import model_validator

from engine.domain.indicators import NOISE_DIGITS, before, moving_average
from engine.domain.strategies.bars import Bars
from engine.domain.strategies.strategy import Move, Params, Strategy, Verdicts, Window, signs

FULL_STRENGTH_GAP_PCT = 0.02  # the averages' distance, as a fraction of the price, that counts as 1


class MaCrossoverParams(Params):
    """Periods in bars."""

    fast: Window
    slow: Window

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be smaller than slow ({self.slow})")
        return self


def judge(bars: Bars, params: MaCrossoverParams) -> Verdicts:
    """Enter long when the fast average crosses above the slow one, short when it crosses below."""
    fast, slow = moving_average(bars.close, params.fast), moving_average(bars.close, params.slow)
    gap = np.round(fast - slow, NOISE_DIGITS)
    was = before(gap, 1)
    crossed = signs((was <= 0) & (gap > 0), (was >= 0) & (gap < 0))
    return Verdicts(
        long=crossed,
        short=-crossed,
        strength=np.abs(gap) / bars.close / FULL_STRENGTH_GAP_PCT,
        facts={"fast_average": fast, "slow_average": slow},
    )


_ABOVE = "average of {fast} ({fast_average:.2f}) crossed above average of {slow} ({slow_average:.2f})"
_BELOW = "average of {fast} ({fast_average:.2f}) crossed below average of {slow} ({slow_average:.2f})"

MA_CROSSOVER = Strategy(
    name="ma_crossover",
    about="Follows a trend from the bar where the fast average crosses the slow one to where it crosses back.",
    params=MaCrossoverParams,
    judge=judge,
    bars_needed=lambda params: params.slow + 1,
    reasons={
        Move.ENTER_LONG: _ABOVE,
        Move.EXIT_LONG: _BELOW,
        Move.ENTER_SHORT: _BELOW,
        Move.EXIT_SHORT: _ABOVE,
    },
)
