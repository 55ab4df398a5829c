"""What an entry would have earned, had it been made: a counterfactual over the bars. Pure.

The assumptions, each on the side of caution where there is a side:

- It is filled at the first bar that begins after it was asked: at that bar's open where the limit allows it, else at
  the limit if the bar reaches it. After ENTRY_BARS bars without that it counts as not filled.
- It leaves at its stop or its target as they were asked, or at a bar's open beyond them. Where one bar reaches both,
  the stop counts. In the bar of its entry only the stop counts.
- The profile's holding rules close it at a bar's open. Trailing stops, exits by signal, costs and slippage do not
  count.
- After HORIZON_BARS bars it is valued at the last close, and its capital counts as free from then on. Where the bars
  end before that, it is valued at the last close and goes on being held.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from engine.domain.broker_types import MarketTime
from engine.domain.exit_rules import ExitRules

ENTRY_BARS: Final = 5
HORIZON_BARS: Final = 90


class Ended(StrEnum):
    """How the path of an entry ended."""

    STOP = "stop_loss"
    TARGET = "take_profit"
    HELD = "held_long_enough"
    OPEN = "open"
    UNFILLED = "not_filled"
    UNKNOWN = "no_bars"


@dataclass(frozen=True, slots=True)
class PriceBar:
    """One bar; `at` is its start, prices in US dollars."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An entry as it was asked, market time. Prices in US dollars, `qty` in shares, above 0."""

    is_long: bool
    qty: Decimal
    limit_price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    asked_at: datetime
    timeframe: str = "1Day"
    rules: ExitRules = field(default_factory=ExitRules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What became of it. `released_at`: when its capital was free again; None: not by the last bar that is known.

    `result_usd` is None only where nothing is known; 0 where it was not filled.
    """

    ended: Ended
    entry_at: datetime | None = None
    entry_price: Decimal | None = None
    exit_price: Decimal | None = None
    released_at: datetime | None = None
    result_usd: Decimal | None = None


def follow(plan: Plan, bars: Sequence[PriceBar]) -> Path:
    """Follow an entry over the bars.

    Parameters
    ----------
    bars : of its symbol and one timeframe, ascending; those up to `asked_at` are passed over
    """
    first = bisect_right(bars, plan.asked_at, key=lambda bar: bar.at)
    later = bars[first : first + HORIZON_BARS]
    if not later:
        return Path(ended=Ended.UNKNOWN)
    for n, bar in enumerate(later[:ENTRY_BARS]):
        price = _entry_price(plan, bar)
        if price is not None:
            return _hold(plan, price, later[n:], is_whole=len(later) == HORIZON_BARS)
    lapsed = later[ENTRY_BARS - 1].at if len(later) >= ENTRY_BARS else None
    return Path(ended=Ended.UNFILLED, released_at=lapsed, result_usd=Decimal(0))


def _entry_price(plan: Plan, bar: PriceBar) -> Decimal | None:
    if _beyond(bar.open, plan.limit_price, not plan.is_long):
        return bar.open
    best = bar.low if plan.is_long else bar.high
    return plan.limit_price if _beyond(best, plan.limit_price, not plan.is_long) else None


def _hold(plan: Plan, entry_price: Decimal, bars: Sequence[PriceBar], *, is_whole: bool) -> Path:
    entry_at = bars[0].at
    for bar in bars:
        left = _exit(plan, bar, entry_at)
        if left is not None:
            ended, price = left
            return _ended(plan, ended, entry_at, entry_price, price, bar.at)
    last = bars[-1]
    return _ended(plan, Ended.OPEN, entry_at, entry_price, last.close, last.at if is_whole else None)


def _exit(plan: Plan, bar: PriceBar, entry_at: datetime) -> tuple[Ended, Decimal] | None:
    stop, target = plan.stop_price, plan.target_price
    worst, best = (bar.low, bar.high) if plan.is_long else (bar.high, bar.low)
    is_first = bar.at == entry_at
    if not is_first and plan.rules.overdue(entry_at, plan.timeframe, MarketTime(now=bar.at, is_open=True)):
        return Ended.HELD, bar.open
    if stop is not None and _beyond(worst, stop, not plan.is_long):
        return Ended.STOP, bar.open if not is_first and _beyond(bar.open, stop, not plan.is_long) else stop
    if target is not None and not is_first and _beyond(best, target, plan.is_long):
        return Ended.TARGET, bar.open if _beyond(bar.open, target, plan.is_long) else target
    return None


def _ended(
    plan: Plan, ended: Ended, entry_at: datetime, entry_price: Decimal, exit_price: Decimal, released: datetime | None
) -> Path:
    gained = (exit_price - entry_price) if plan.is_long else (entry_price - exit_price)
    return Path(
        ended=ended,
        entry_at=entry_at,
        entry_price=entry_price,
        exit_price=exit_price,
        released_at=released,
        result_usd=gained * plan.qty,
    )


def _beyond(price: Decimal, level: Decimal, is_above: bool) -> bool:
    """Tell whether a price has reached a level, coming from below (`is_above`) or from above."""
    return price >= level if is_above else price <= level
