"""How much of a position its resting orders cover, and how much they would sell.

The two exits of a bracket sell the same shares: one cancels the other. A broker's leg shrinks by
what its sibling has filled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from engine.domain.book import OpenTrade, Order, Purpose

ZERO = Decimal(0)


def protected_qty(trade: OpenTrade) -> Decimal:
    """Return how many shares a stop at the broker covers; `held` stops count, they are armed."""
    return min(_left(trade, (leg for leg in stops_of(trade) if leg.state.is_at_broker)), trade.qty)


def planned_qty(trade: OpenTrade) -> Decimal:
    """Return how many shares its stops would sell, those on their way included; may exceed the trade."""
    return _left(trade, stops_of(trade))


def reserved_qty(trade: OpenTrade) -> Decimal:
    """Return how many shares its stops and targets would sell together, a bracket's pair once."""
    groups: dict[str, list[Order]] = defaultdict(list)
    for leg in (*stops_of(trade), *targets_of(trade)):
        groups[leg.group_id].append(leg)
    return sum((max(left_of(trade, leg) for leg in legs) for legs in groups.values()), ZERO)


def stops_of(trade: OpenTrade) -> tuple[Order, ...]:
    """Return the stops that count: of one and the one that takes its place, the one at the broker."""
    stops = [leg for leg in trade.legs if leg.purpose is Purpose.STOP_LOSS]
    if len(stops) < 2:
        return tuple(stops)
    resting = {leg.broker_order_id for leg in stops if leg.state.is_at_broker}
    replaced = {leg.replaces_broker_id for leg in stops if leg.state.is_at_broker} - {None}
    return tuple(
        leg
        for leg in stops
        if leg.broker_order_id not in replaced and (leg.state.is_at_broker or leg.replaces_broker_id not in resting)
    )


def targets_of(trade: OpenTrade) -> tuple[Order, ...]:
    """Return the take-profits that are not over."""
    return tuple(leg for leg in trade.legs if leg.purpose is Purpose.TAKE_PROFIT)


def left_of(trade: OpenTrade, leg: Order) -> Decimal:
    """Return how many shares a leg would still sell."""
    filled = [other.filled_qty for other in trade.legs if other.filled_qty and other.group_id == leg.group_id]
    return max(leg.qty - sum(filled, ZERO), ZERO) if filled else leg.qty


def blocking_legs(trade: OpenTrade, exit_order: Order) -> tuple[Order, ...]:
    """Return the resting orders that reserve the shares an exit wants to sell."""
    return tuple(
        leg
        for leg in trade.legs
        if leg.id != exit_order.id and leg.state.is_at_broker and leg.broker_order_id is not None
    )


def _left(trade: OpenTrade, legs: Iterable[Order]) -> Decimal:
    return sum((left_of(trade, leg) for leg in legs), ZERO)
