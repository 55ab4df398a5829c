"""Which of the broker's orders tell us something new, and which of ours to look up or cancel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from engine.domain.book import Order, Purpose
from engine.domain.broker_types import BrokerOrder, MarketTime

PRICE_DIGITS: Final = 6  # as many as our books keep


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """`updates` go to the authority as they are; each id of `lookups` is asked for first."""

    updates: tuple[BrokerOrder, ...]
    lookups: tuple[str, ...]


def plan_sync(ours: Sequence[Order], theirs: Sequence[BrokerOrder]) -> SyncPlan:
    """Compare our open orders with the broker's list of open orders.

    An order of ours that is not in the list has ended, or it is a `held` leg, which the broker
    does not list: such a leg is looked up only when nothing else of its group is open, when
    another order has taken its place, or when the broker has restated one of its group.
    """
    known = {order.broker_order_id: order for order in ours if order.broker_order_id}
    known |= {order.id: order for order in ours}
    listed = {order.broker_order_id for order in theirs}
    alive = {o.group_id for o in ours if o.broker_order_id in listed}
    matched = ((order, known.get(order.broker_order_id)) for order in theirs)
    restated = {own.group_id for order, own in matched if own is not None and _is_restated(order, own)}
    replaced = {o.replaces_broker_id for o in ours if o.state.is_at_broker}
    return SyncPlan(
        updates=tuple(order for order in theirs if _is_news(order, known)),
        lookups=tuple(
            order.broker_order_id
            for order in ours
            if order.broker_order_id is not None
            and order.state.is_at_broker
            and order.broker_order_id not in listed
            and not (
                order.broker_status == "held"
                and order.group_id in alive
                and order.group_id not in restated
                and order.broker_order_id not in replaced
            )
        ),
    )


def without_legs(ours: Sequence[Order], theirs: Iterable[BrokerOrder]) -> set[str]:
    """Return the broker ids of open entries with protection of which our books know no order.

    An entry whose answer was lost is found in the list of open orders, which leaves `held` legs out.
    """
    listed = {order.broker_order_id for order in theirs}
    parents = {order.parent_id for order in ours}
    return {
        order.broker_order_id
        for order in ours
        if order.purpose is Purpose.ENTRY
        and order.order_class != "simple"
        and order.state.is_at_broker
        and order.broker_order_id in listed
        and order.id not in parents
    }


def due_cancels(ours: Iterable[Order], *, market: MarketTime, partial_max: timedelta) -> list[Order]:
    """Return the orders to cancel at the broker by id.

    Those that somebody asked to cancel, and entries that have rested too long: a decision has a
    time to live, and while an entry is partly filled the broker does not work its protective legs.
    """
    return [
        order
        for order in ours
        if order.state.is_at_broker
        and order.broker_order_id is not None
        and (order.cancel_requested_at is not None or _has_rested(order, market, partial_max))
    ]


def _is_news(theirs: BrokerOrder, known: dict[str, Order]) -> bool:
    ours = known.get(theirs.broker_order_id) or known.get(theirs.client_order_id)
    return (
        ours is None
        or ours.broker_status != theirs.status
        or ours.filled_qty != theirs.filled_qty
        or bool(theirs.legs)
        or _is_restated(theirs, ours)
    )


def _is_restated(theirs: BrokerOrder, ours: Order) -> bool:
    """Tell whether the broker has changed what rests there: after a split, or where a stop trails."""
    if ours.purpose is Purpose.ENTRY and theirs.filled_qty > 0:
        return False
    return (
        theirs.qty != ours.qty
        or _has_moved(ours.limit_price, theirs.limit_price)
        or _has_moved(ours.stop_price, theirs.stop_price)
    )


def _has_moved(old: Decimal | None, new: Decimal | None) -> bool:
    if new is None or new == old:  # as nearly all are, and to round takes far longer
        return False
    return old is None or round(new, PRICE_DIGITS) != round(old, PRICE_DIGITS)


def _has_rested(order: Order, market: MarketTime, partial_max: timedelta) -> bool:
    if order.purpose is not Purpose.ENTRY:
        return False
    if order.filled_qty > 0 and order.broker_updated_at is not None:
        return market.now - order.broker_updated_at > partial_max
    # What was decided at a Friday's close works on Monday and no longer.
    return order.market_at is not None and market.weekdays_since(order.market_at) > 1
