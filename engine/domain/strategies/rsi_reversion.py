"""RSI reversion: buy what has fallen too fast, sell what has risen too fast."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from engine.domain.indicators import relative_strength
from engine.domain.strategies.bars import Bars
from engine.domain.strategies.strategy import Move, Params, Strategy, Verdicts, Window, signs

Level = Annotated[Decimal, Field(gt=0, lt=100)]


class RsiReversionParams(Params):
    """`period` in bars; the levels between 0 and 100."""

    period: Annotated[Window, Field(ge=2)]
    low: Level
    high: Level

    @model_validator(mode="after")
    def _low_is_lower(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be smaller than high ({self.high})")
        return self


def judge(bars: Bars, params: RsiReversionParams) -> Verdicts:
    """Enter long while the index is below `low`, short while it is above `high`; each ends the other."""
    rsi = relative_strength(bars.close, params.period)
    low, high = float(params.low), float(params.high)
    side = signs(rsi < low, rsi > high)
    beyond = (low - rsi) / low * (rsi < low) + (rsi - high) / high * (rsi > high)
    return Verdicts(long=side, short=-side, strength=beyond, facts={"rsi": rsi})


_LOW, _HIGH = "RSI {rsi:.1f} is below {low}", "RSI {rsi:.1f} is above {high}"

RSI_REVERSION = Strategy(
    name="rsi_reversion",
    about="Bets on a return to the middle after the relative strength index has gone to an extreme.",
    params=RsiReversionParams,
    judge=judge,
    bars_needed=lambda params: params.period + 1,
    reasons={Move.ENTER_LONG: _LOW, Move.EXIT_LONG: _HIGH, Move.ENTER_SHORT: _HIGH, Move.EXIT_SHORT: _LOW},
)
