"""A strategy of one's own: buy below the lower Bollinger band, leave at the average.

Register it with one line in .env, and name it in a profile:

    ENGINE_STRATEGIES=examples/bollinger_reversion.py

docs/strategies.md says what goes in and what comes out.
"""

from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import Field

from engine.domain.indicators import deviation, moving_average
from engine.domain.strategies import Bars, Move, Params, Strategy, Verdicts, Window, signs


class BollingerParams(Params):
    """`period` in bars; `width` in standard deviations."""

    period: Annotated[Window, Field(ge=2)] = 20
    width: Annotated[Decimal, Field(gt=0, le=10)] = Decimal(2)


def judge(bars: Bars, params: BollingerParams) -> Verdicts:
    """Enter long below the lower band and short above the upper one; leave at the average."""
    average = moving_average(bars.close, params.period)
    band = float(params.width) * deviation(bars.close, params.period)
    away = bars.close - average
    return Verdicts(
        long=signs(away < -band, away >= 0),
        short=signs(away > band, away <= 0),
        strength=np.divide(np.abs(away), 2 * band, out=np.zeros_like(band), where=band > 0),
        facts={"close": bars.close, "average": average, "lower": average - band, "upper": average + band},
    )


BOLLINGER_REVERSION = Strategy(
    name="bollinger_reversion",
    about="Buys what has fallen out of its usual range, and leaves once it is back at its average.",
    params=BollingerParams,
    judge=judge,
    bars_needed=lambda params: params.period,
    reasons={
        Move.ENTER_LONG: "close {close:.2f} is below the lower band {lower:.2f}",
        Move.EXIT_LONG: "close {close:.2f} is back at the average {average:.2f}",
        Move.ENTER_SHORT: "close {close:.2f} is above the upper band {upper:.2f}",
        Move.EXIT_SHORT: "close {close:.2f} is back at the average {average:.2f}",
    },
)
