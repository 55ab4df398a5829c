"""When a position is closed, and whether it is protected until then."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from engine.domain.book import OpenTrade, Order, Purpose
from engine.domain.broker_types import Quote

# A resting stop triggers on trades, we see quotes: leave it alone until the quote is this far
# through it (a fraction of the stop price).
STOP_SLACK_PCT: Final = Decimal("0.01")


class Care(StrEnum):
    """What a position needs now."""

    NOTHING = "nothing"
    CLOSE = "close"  # close it at market: nothing at the broker will
    PROTECT = "protect"  # rest a stop at the broker for the uncovered part
    SUSPECT = "suspect"  # its resting stop should have acted; close it when this lasts


@dataclass(frozen=True, slots=True)
class Watch:
    """One look at an open trade. Prices in US dollars, quantities in shares."""

    trade: OpenTrade
    mark_price: Decimal
    protected_qty: Decimal
    care: Care
    exit_reason: str = ""
    reason: str = ""

    @property
    def uncovered_qty(self) -> Decimal:
        return self.trade.qty - self.protected_qty


def watch_trade(trade: OpenTrade, quote: Quote, *, entry_is_open: bool) -> Watch:
    """Judge one open trade at the price it could be closed at now.

    Parameters
    ----------
    entry_is_open : its entry can still fill, so the broker does not work its legs yet
    """
    mark = quote.bid if trade.is_long else quote.ask
    protected = Decimal(0) if entry_is_open else protected_qty(trade)
    if trade.exit_working or entry_is_open:
        return Watch(trade, mark, protected, Care.NOTHING)
    covered = protected >= trade.qty
    stop, target = trade.stop_price, trade.take_profit_price
    if stop is not None and _is_through(trade, mark, stop):
        if not covered:
            return Watch(trade, mark, protected, Care.CLOSE, "stop_loss", f"{mark} is through the stop {stop}")
        if _stop_is_idle(trade) and _is_through(trade, mark, _slackened(trade, stop)):
            return Watch(
                trade,
                mark,
                protected,
                Care.SUSPECT,
                "stop_loss",
                f"{mark} is through the stop {stop}, and the resting stop has not acted",
            )
    if target is not None and not _has_leg(trade, Purpose.TAKE_PROFIT) and _is_through(trade, target, mark):
        return Watch(trade, mark, protected, Care.CLOSE, "take_profit", f"{mark} has reached the target {target}")
    if not covered and stop is not None:
        return Watch(trade, mark, protected, Care.PROTECT, "stop_loss", "no stop rests at the broker for it")
    return Watch(trade, mark, protected, Care.NOTHING)


def is_fully_at_broker(trade: OpenTrade) -> bool:
    """Tell whether stop and target both rest at the broker for all of it, so that no look is urgent."""
    return protected_qty(trade) >= trade.qty and _has_leg(trade, Purpose.TAKE_PROFIT)


def protected_qty(trade: OpenTrade) -> Decimal:
    """Return how many shares a stop at the broker covers; `held` stops count, they are armed."""
    stops = (leg for leg in trade.legs if leg.purpose is Purpose.STOP_LOSS)
    covered = sum((leg.qty - leg.filled_qty for leg in stops), Decimal(0))
    return min(covered, trade.qty)


def blocking_legs(trade: OpenTrade, exit_order: Order) -> tuple[Order, ...]:
    """Return the resting orders that reserve the shares an exit wants to sell."""
    return tuple(
        leg
        for leg in trade.legs
        if leg.id != exit_order.id and leg.state.is_at_broker and leg.broker_order_id is not None
    )


def _has_leg(trade: OpenTrade, purpose: Purpose) -> bool:
    return any(leg.purpose is purpose for leg in trade.legs)


def _stop_is_idle(trade: OpenTrade) -> bool:
    """A bracket's stop is `held` until it is set off; of a plain one only fills tell."""
    stops = (leg for leg in trade.legs if leg.purpose is Purpose.STOP_LOSS)
    return all(leg.broker_status == "held" if leg.parent_id else leg.filled_qty == 0 for leg in stops)


def _is_through(trade: OpenTrade, mark: Decimal, level: Decimal) -> bool:
    return mark <= level if trade.is_long else mark >= level


def _slackened(trade: OpenTrade, stop: Decimal) -> Decimal:
    return stop * (1 - STOP_SLACK_PCT if trade.is_long else 1 + STOP_SLACK_PCT)
