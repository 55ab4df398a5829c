"""Which fields go together: the rules of order types, classes and times in force.

They need nothing but the ticket; what needs the account or the market is in `submission`.
"""

from __future__ import annotations

from decimal import Decimal

from local.exchange.trading.errors import Refusal, forbidden, invalid, unprocessable
from local.exchange.trading.numbers import is_whole
from local.exchange.trading.order import Order, OrderClass, OrderType, TimeInForce
from local.exchange.trading.ticket import Ticket

NOTIONAL_USD_MIN = Decimal(1)
CRYPTO_COST_USD_MIN = Decimal(10)

_LASTING = (TimeInForce.DAY, TimeInForce.GTC)
_CRYPTO: dict[OrderType, tuple[TimeInForce, ...]] = {
    OrderType.MARKET: (TimeInForce.GTC, TimeInForce.IOC),
    OrderType.LIMIT: (TimeInForce.GTC, TimeInForce.IOC),
    OrderType.STOP_LIMIT: (TimeInForce.GTC,),
}


def check_rules(ticket: Ticket) -> None:
    """Refuse a ticket whose fields contradict each other or a rule of Alpaca's."""
    _check_class(ticket)
    _check_prices(ticket)
    _check_trail(ticket)
    if ticket.is_crypto:
        _check_crypto_class(ticket)
    check_time_in_force(ticket)
    _check_extended_hours(ticket)
    if not ticket.is_crypto:
        _check_fraction(ticket)


def _check_class(ticket: Ticket) -> None:
    kind, exits = ticket.order_class, [ticket.take_profit, ticket.stop_loss]
    given = sum(leg is not None for leg in exits)
    if kind is OrderClass.SIMPLE and given:
        raise unprocessable("simple orders cannot have take_profit or stop_loss")
    if kind is OrderClass.OTO and given != 1:
        raise unprocessable("oto orders require either take_profit or stop_loss")
    if kind in (OrderClass.BRACKET, OrderClass.OCO):
        if ticket.take_profit is None:
            raise unprocessable(f"{kind} orders require take_profit.limit_price")
        if ticket.stop_loss is None:
            raise unprocessable(f"{kind} orders require stop_loss.stop_price")
    if kind is OrderClass.OCO and ticket.type is not OrderType.LIMIT:
        raise unprocessable("oco orders must be limit orders")


def _check_prices(ticket: Ticket) -> None:
    kind = ticket.type
    needs_limit = kind.has_limit and ticket.order_class is not OrderClass.OCO
    if needs_limit and ticket.limit_price is None:
        raise invalid(f"{kind} orders require limit_price")
    if kind.has_stop and ticket.stop_price is None:
        raise invalid(f"{kind} orders require stop_price")
    if not kind.has_limit and ticket.limit_price is not None:
        raise invalid(f"{kind} orders must not have limit_price")
    if not kind.has_stop and ticket.stop_price is not None:
        raise invalid(f"{kind} orders must not have stop_price")


def _check_trail(ticket: Ticket) -> None:
    given = [trail for trail in (ticket.trail_price, ticket.trail_percent) if trail is not None]
    if ticket.type is not OrderType.TRAILING_STOP:
        if given:
            raise invalid(f"{ticket.type} orders must not have trail_price or trail_percent")
        return
    if len(given) != 1:
        raise invalid("trailing_stop orders require either trail_price or trail_percent")
    if ticket.order_class is not OrderClass.SIMPLE:
        raise unprocessable("trailing_stop orders must be simple orders")


def _check_crypto_class(ticket: Ticket) -> None:
    if ticket.order_class is not OrderClass.SIMPLE:
        raise unprocessable("crypto orders must be simple orders")
    if ticket.type not in _CRYPTO:
        raise unprocessable(f"invalid order type {ticket.type} for crypto order")


def _check_extended_hours(ticket: Ticket) -> None:
    if not ticket.extended_hours:
        return
    if ticket.is_crypto:
        raise unprocessable("crypto orders have no extended hours")
    if ticket.type is not OrderType.LIMIT or ticket.time_in_force not in _LASTING:
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if ticket.order_class is not OrderClass.SIMPLE:
        raise unprocessable("extended hours order must be a simple order")


def check_time_in_force(order: Ticket | Order) -> None:
    """Refuse a time in force that the type, the class or the asset does not go with."""
    tif = order.time_in_force
    if order.is_crypto:
        if tif not in _CRYPTO[order.type]:
            raise unprocessable("invalid crypto time_in_force")
        return
    if tif in _LASTING:
        return
    if order.type.waits_for_trigger:
        raise unprocessable(f"invalid time_in_force {tif} for {order.type} orders")
    if order.order_class is not OrderClass.SIMPLE:
        raise unprocessable(f"invalid time_in_force {tif} for {order.order_class} orders")


def _check_fraction(ticket: Ticket) -> None:
    if ticket.notional is None and is_whole(ticket.qty):
        return
    if ticket.type is OrderType.TRAILING_STOP:
        raise unprocessable("fractional orders cannot be trailing_stop orders")
    if ticket.time_in_force is not TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    if ticket.order_class is not OrderClass.SIMPLE:
        raise unprocessable("fractional orders must be simple orders")
    if ticket.notional is not None and ticket.notional < NOTIONAL_USD_MIN:
        raise below_minimum(NOTIONAL_USD_MIN)


def below_minimum(minimum: Decimal) -> Refusal:
    """Return the refusal of an order that is worth too little."""
    return forbidden(f"cost basis must be >= minimal amount of order {minimum}")
