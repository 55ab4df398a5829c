"""From ticket to orders: which orders does a checked ticket become, and where do they go first?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from local.exchange.market.calendar import NEW_YORK
from local.exchange.trading import lifecycle
from local.exchange.trading.admission import estimated_qty
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.order import (
    Intent,
    Leg,
    Order,
    OrderClass,
    OrderType,
    Side,
    Status,
    TimeInForce,
)
from local.exchange.trading.quotes import tick_of
from local.exchange.trading.session import is_taken
from local.exchange.trading.ticket import StopLoss, Ticket

GTC_LIFE = timedelta(days=90)
GTC_ENDS = time(16, 15)


def place(ticket: Ticket, intent: Intent, ledger: Ledger, *, rejected_after: int | None = None) -> Order:
    """Add the orders of a checked ticket; return the first as Alpaca's answer shows it.

    With `rejected_after` the order is received only to be rejected that many ticks later.
    """
    orders = _orders(ticket, intent, ledger)
    for order in orders:
        ledger.add(order)
    answer = replace(orders[0])
    if rejected_after is not None:
        return _refuse_later(orders[0], ledger, rejected_after)
    route(orders[0], ledger)
    for leg in orders[1:]:
        if leg.active and leg.leg is not Leg.STOP_LOSS:
            route(leg, ledger)
    return replace(orders[0]) if orders[0].status is Status.ACCEPTED else answer


def route(order: Order, ledger: Ledger) -> None:
    """Bring a received order to the market, or queue it until the market takes it."""
    if order.type is OrderType.TRAILING_STOP and order.hwm is None:
        order.hwm = tick_of(ledger.market, ledger, order.symbol).trade
        order.stop_price = order.trail_from(order.hwm)
    ledger.move(order, Status.NEW if is_taken(order, ledger) else Status.ACCEPTED)


def _refuse_later(order: Order, ledger: Ledger, ticks: int) -> Order:
    order.due = ticks
    ledger.touch(order)
    answer = replace(order)
    if ticks == 0:
        lifecycle.reject(ledger, order)
    return answer


def _orders(ticket: Ticket, intent: Intent, ledger: Ledger) -> list[Order]:
    if ticket.order_class is OrderClass.OCO:
        first = _order(ticket, intent, ledger, limit=ticket.take_profit, stop=None)
        first.leg = Leg.TAKE_PROFIT
        return [first, *_legs(ticket, first, ledger, side=ticket.side, active=True)]
    first = _order(ticket, intent, ledger, limit=ticket.limit_price, stop=ticket.stop_price)
    return [first, *_legs(ticket, first, ledger, side=ticket.side.opposite, active=False)]


def _order(ticket: Ticket, intent: Intent, ledger: Ledger, *, limit: Decimal | None, stop: Decimal | None) -> Order:
    seq, order_id = ledger.new_id()
    at = ledger.stamp()
    return Order(
        id=order_id,
        seq=seq,
        client_order_id=ticket.client_order_id or ledger.derived_id(f"client/{seq}"),
        symbol=ticket.symbol,
        side=ticket.side,
        type=ticket.type,
        time_in_force=ticket.time_in_force,
        order_class=ticket.order_class,
        intent=intent,
        qty=estimated_qty(ticket, tick_of(ledger.market, ledger, ticket.symbol)),
        notional=ticket.notional,
        status=Status.PENDING_NEW,
        submitted_at=at,
        updated_at=at,
        limit_price=limit,
        stop_price=stop,
        trail_price=ticket.trail_price,
        trail_percent=ticket.trail_percent,
        extended_hours=ticket.extended_hours,
        expires_at=expiry(ticket.time_in_force, at),
    )


def expiry(time_in_force: TimeInForce, submitted_at: datetime) -> datetime | None:
    """Return when a good-till-canceled order is canceled: a quarter past four in New York, 90 days on."""
    if time_in_force is not TimeInForce.GTC:
        return None
    last_day = submitted_at.astimezone(NEW_YORK).date() + GTC_LIFE
    return datetime.combine(last_day, GTC_ENDS, NEW_YORK).astimezone(UTC)


def _legs(ticket: Ticket, first: Order, ledger: Ledger, *, side: Side, active: bool) -> list[Order]:
    legs: list[Order] = []
    if ticket.take_profit is not None and ticket.order_class is not OrderClass.OCO:
        leg = _leg(first, ledger, Leg.TAKE_PROFIT, side, OrderType.LIMIT)
        leg.limit_price, leg.active = ticket.take_profit, active
        legs.append(leg)
    if ticket.stop_loss is not None:
        leg = _leg(first, ledger, Leg.STOP_LOSS, side, _stop_type(ticket.stop_loss))
        leg.stop_price, leg.limit_price = ticket.stop_loss.stop_price, ticket.stop_loss.limit_price
        leg.active = active
        legs.append(leg)
    return legs


def _leg(first: Order, ledger: Ledger, leg: Leg, side: Side, kind: OrderType) -> Order:
    seq, order_id = ledger.new_id()
    at = ledger.stamp()
    return Order(
        id=order_id,
        seq=seq,
        client_order_id=ledger.derived_id(f"client/{seq}"),
        symbol=first.symbol,
        side=side,
        type=kind,
        time_in_force=first.time_in_force,
        order_class=first.order_class,
        intent=Intent.of(side, closes=True),
        qty=first.qty,
        notional=first.notional,
        status=Status.HELD,
        submitted_at=at,
        updated_at=at,
        trail_price=first.trail_price,
        trail_percent=first.trail_percent,
        extended_hours=first.extended_hours,
        expires_at=first.expires_at,
        parent_id=first.id,
        leg=leg,
    )


def _stop_type(stop_loss: StopLoss) -> OrderType:
    return OrderType.STOP if stop_loss.limit_price is None else OrderType.STOP_LIMIT
