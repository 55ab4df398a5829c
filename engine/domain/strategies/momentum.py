"""Cross-sectional momentum: hold what has risen most among the profile's symbols."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from engine.domain.indicators import Matrix, before, change
from engine.domain.strategies.bars import Bars
from engine.domain.strategies.strategy import BARS_MAX, Move, Params, Strategy, Verdicts, Window, signs

SYMBOLS_MIN = 2  # one symbol alone cannot be strong or weak among others
Places = Annotated[int, Field(ge=1, le=1000)]


class MomentumParams(Params):
    """Enter among the first `top`, leave below the first `keep` (default: `top`).

    The change is measured over `lookback` bars and ends `skip` bars ago.
    """

    lookback: Window
    skip: Annotated[int, Field(ge=0, le=BARS_MAX - 2)] = 0
    top: Places
    keep: Places | None = None

    @property
    def places_kept(self) -> int:
        return self.keep or self.top

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.places_kept < self.top:
            raise ValueError(f"keep ({self.keep}) must not be smaller than top ({self.top})")
        if self.lookback + self.skip >= BARS_MAX:
            raise ValueError(f"lookback and skip together must stay below {BARS_MAX} bars")
        return self


def judge(bars: Bars, params: MomentumParams) -> Verdicts:
    """Enter long what is among the first and has risen, short what is among the last and has fallen."""
    gain = before(change(bars.close, params.lookback), params.skip) * np.where(np.isnan(bars.close), np.nan, 1.0)
    ranked = (~np.isnan(gain)).sum(axis=1, keepdims=True)
    first, last = _place(gain), _place(-gain)
    comparable = ~np.isnan(gain) & (ranked >= SYMBOLS_MIN)
    return Verdicts(
        long=signs(
            comparable & (first <= params.top) & (gain > 0),
            comparable & ((first > params.places_kept) | (gain <= 0)),
        ),
        short=signs(
            comparable & (last <= params.top) & (gain < 0),
            comparable & ((last > params.places_kept) | (gain >= 0)),
        ),
        strength=np.divide(ranked - np.minimum(first, last) + 1, ranked, out=np.zeros_like(gain), where=ranked > 0),
        facts={"gain": gain, "place": first, "of": np.broadcast_to(ranked, gain.shape).astype(np.float64)},
    )


def _place(gain: Matrix) -> Matrix:
    """Return each symbol's place in its row, 1 for the largest; among equals the earlier column comes first."""
    order = np.argsort(np.where(np.isnan(gain), np.inf, -gain), axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable").astype(np.float64) + 1.0


_TEXT = "change over {lookback} bars {gain:+.2%}: place {place:.0f} of {of:.0f}"

CROSS_SECTIONAL_MOMENTUM = Strategy(
    name="cross_sectional_momentum",
    about="Holds the symbols of the profile that have risen most, and leaves them when others have risen more.",
    params=MomentumParams,
    judge=judge,
    bars_needed=lambda params: params.lookback + params.skip + 1,
    reasons=dict.fromkeys(Move, _TEXT),
    looks_across=True,
)
