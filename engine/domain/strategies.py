"""Strategies: closing prices in, a verdict on the last bar out.

Indicators are statistics, not money, so they are computed on float arrays; whatever becomes a
price or a quantity is Decimal again (see sizing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.domain.errors import ConfigError

Closes = NDArray[np.float64]
Action = Literal["enter", "exit", "hold"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a strategy wants now, in which strength (0 to 1), and why."""

    action: Action
    reason: str
    strength: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named strategy bound to its parameters; `bars_needed` closes make it decide."""

    name: str
    bars_needed: int
    judge: Callable[[Closes], Verdict]


def build_strategy(name: str, params: Mapping[str, Any]) -> Strategy:
    """Bind a strategy to a profile's parameters.

    Raises
    ------
    ConfigError when the name is unknown or a parameter is missing or out of range
    """
    builder = _BUILDERS.get(name)
    if builder is None:
        raise ConfigError(f"strategy {name!r} is unknown; use one of {', '.join(_BUILDERS)}")
    try:
        return builder(params)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"parameters of strategy {name} do not fit: {error!r}") from error


def ma_crossover(closes: Closes, *, fast: int, slow: int) -> Verdict:
    """Enter when the fast average crosses above the slow one, exit when it crosses below.

    Parameters
    ----------
    closes : closing prices, oldest first; fewer than slow + 1 of them decide nothing
    """
    if len(closes) < slow + 1:
        return Verdict("hold", f"{len(closes)} of {slow + 1} bars")
    # Rounded far below a cent: averages of a flat price differ by rounding noise, which is no cross.
    gap = np.round(moving_average(closes, fast)[-2:] - moving_average(closes, slow)[-2:], 9)
    words = f"average of {fast} {{}} average of {slow}"
    if gap[0] <= 0 < gap[1]:
        return Verdict("enter", words.format("crossed above"), _strength(gap[1] / closes[-1] * 50))
    if gap[0] >= 0 > gap[1]:
        return Verdict("exit", words.format("crossed below"), _strength(-gap[1] / closes[-1] * 50))
    return Verdict("hold", words.format("has not crossed"))


def rsi_reversion(closes: Closes, *, period: int, low: int, high: int) -> Verdict:
    """Enter when the relative strength index is below `low`, exit when it is above `high`."""
    if len(closes) < period + 1:
        return Verdict("hold", f"{len(closes)} of {period + 1} bars")
    rsi = relative_strength(closes, period)[-1]
    if rsi < low:
        return Verdict("enter", f"RSI {rsi:.1f} is below {low}", _strength((low - rsi) / low))
    if rsi > high:
        return Verdict("exit", f"RSI {rsi:.1f} is above {high}", _strength((rsi - high) / high))
    return Verdict("hold", f"RSI {rsi:.1f} is between {low} and {high}")


def moving_average(values: Closes, period: int) -> Closes:
    """Return the simple moving average of each full window; len(values) - period + 1 of them."""
    return np.convolve(values, np.ones(period), mode="valid") / period


def relative_strength(closes: Closes, period: int) -> Closes:
    """Return the relative strength index (0 to 100) over plain averages; 50 where nothing moved.

    Cutler's form: unlike Wilder's smoothing it does not depend on where the history begins, so a
    restarted engine sees the same value.
    """
    moves = np.diff(closes)
    gains = moving_average(np.maximum(moves, 0.0), period)
    losses = moving_average(np.maximum(-moves, 0.0), period)
    total = gains + losses
    return 100.0 * np.divide(gains, total, out=np.full_like(total, 0.5), where=total > 0)


def _strength(raw: np.float64) -> Decimal:
    return Decimal(str(round(min(max(raw, 0.0), 1.0), 4)))


def _build_ma_crossover(params: Mapping[str, Any]) -> Strategy:
    fast, slow = int(params["fast"]), int(params["slow"])
    if not 1 <= fast < slow:
        raise ValueError("1 <= fast < slow is required")
    return Strategy("ma_crossover", slow + 1, lambda closes: ma_crossover(closes, fast=fast, slow=slow))


def _build_rsi_reversion(params: Mapping[str, Any]) -> Strategy:
    period, low, high = int(params["period"]), int(params["low"]), int(params["high"])
    if not (period >= 2 and 0 < low < high < 100):
        raise ValueError("period >= 2 and 0 < low < high < 100 are required")
    return Strategy(
        "rsi_reversion",
        period + 1,
        lambda closes: rsi_reversion(closes, period=period, low=low, high=high),
    )


_BUILDERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Strategy]]] = {
    "ma_crossover": _build_ma_crossover,
    "rsi_reversion": _build_rsi_reversion,
}
