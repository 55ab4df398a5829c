"""What a client asks for: the body of `POST /v2/orders`, checked as far as it can be alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from local.exchange.trading.errors import invalid, not_simulated, sub_penny, unprocessable
from local.exchange.trading.numbers import is_whole
from local.exchange.trading.order import Intent, OrderClass, OrderType, Side, TimeInForce

E = TypeVar("E", bound=StrEnum)

CLIENT_ORDER_ID_LENGTH_MAX = 128
QTY_DIGITS_MAX = 12
QTY_DECIMALS_MAX = 9

# Alpaca has them, this exchange does not: refused by name rather than misread.
_ELSEWHERE: dict[str, set[str]] = {
    "type": {"trailing_stop"},
    "time_in_force": {"opg", "cls"},
    "order_class": {"mleg"},
}


@dataclass(frozen=True, slots=True)
class StopLoss:
    stop_price: Decimal
    limit_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A well-formed order request; whether the account may place it is another question."""

    symbol: str
    side: Side
    qty: Decimal
    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    order_class: OrderClass = OrderClass.SIMPLE
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: StopLoss | None = None
    client_order_id: str | None = None
    intent: Intent | None = None


def read_ticket(body: Mapping[str, Any]) -> Ticket:
    """Return the ticket that `body` describes.

    Raises
    ------
    Refusal if a field is missing, malformed, contradicts another, or is not simulated
    """
    for feature in ("notional", "trail_price", "trail_percent", "extended_hours"):
        if body.get(feature):
            raise not_simulated(feature)
    take_profit, stop_loss = _exits(body)
    ticket = Ticket(
        symbol=_required_text(body, "symbol").upper(),
        side=_choice(body, "side", Side),
        qty=read_qty(body),
        type=_choice(body, "type", OrderType),
        time_in_force=_choice(body, "time_in_force", TimeInForce),
        order_class=_choice(body, "order_class", OrderClass, OrderClass.SIMPLE),
        limit_price=read_price(body, "limit_price"),
        stop_price=read_price(body, "stop_price"),
        take_profit=take_profit,
        stop_loss=stop_loss,
        client_order_id=read_client_order_id(body),
        intent=_choice(body, "position_intent", Intent) if body.get("position_intent") else None,
    )
    _check_class(ticket)
    _check_prices(ticket)
    _check_time_in_force(ticket)
    return ticket


def read_qty(body: Mapping[str, Any], field: str = "qty") -> Decimal:
    """Return a quantity of shares: above zero, at most nine decimals, not absurd."""
    qty = _number(body, field)
    if qty is None:
        raise invalid(f"{field} is required")
    if qty <= 0:
        raise invalid(f"{field} must be > 0")
    if qty.adjusted() >= QTY_DIGITS_MAX:
        raise invalid(f"{field} is too large")
    if qty.adjusted() < -QTY_DECIMALS_MAX or qty != round(qty, QTY_DECIMALS_MAX):
        raise invalid(f"{field} increment must be at least 0.000000001")
    return qty


def read_price(body: Mapping[str, Any], field: str, name: str | None = None) -> Decimal | None:
    """Return a price in US dollars, or None; at most two decimals, four under one dollar."""
    price, name = _number(body, field), name or field
    if price is None:
        return None
    if price <= 0:
        raise unprocessable(f"{name} must be > 0")
    if price.adjusted() >= QTY_DIGITS_MAX:
        raise unprocessable(f"{name} is too large")
    decimals = 2 if price >= 1 else 4
    if price.adjusted() < -decimals or price != round(price, decimals):
        raise sub_penny(name, price)
    return price


def read_client_order_id(body: Mapping[str, Any]) -> str | None:
    value = body.get("client_order_id")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise invalid("client_order_id must be a string")
    if len(value) > CLIENT_ORDER_ID_LENGTH_MAX:
        raise invalid(f"client_order_id must be at most {CLIENT_ORDER_ID_LENGTH_MAX} characters")
    return value


def read_time_in_force(body: Mapping[str, Any], default: TimeInForce) -> TimeInForce:
    return _choice(body, "time_in_force", TimeInForce, default)


def _exits(body: Mapping[str, Any]) -> tuple[Decimal | None, StopLoss | None]:
    profit, loss = (_object(body, name) for name in ("take_profit", "stop_loss"))
    take_profit = read_price(profit, "limit_price", "take_profit.limit_price")
    stop_price = read_price(loss, "stop_price", "stop_loss.stop_price")
    limit_price = read_price(loss, "limit_price", "stop_loss.limit_price")
    if profit and take_profit is None:
        raise invalid("take_profit.limit_price is required")
    if loss and stop_price is None:
        raise invalid("stop_loss.stop_price is required")
    return take_profit, StopLoss(stop_price, limit_price) if stop_price else None


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


def _check_time_in_force(ticket: Ticket) -> None:
    tif = ticket.time_in_force
    lasting = tif in (TimeInForce.DAY, TimeInForce.GTC)
    if not lasting and (ticket.order_class is not OrderClass.SIMPLE or ticket.type.has_stop):
        kind = ticket.type if ticket.type.has_stop else ticket.order_class
        raise unprocessable(f"invalid time_in_force {tif} for {kind} orders")
    if is_whole(ticket.qty):
        return
    if tif is not TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    if ticket.order_class is not OrderClass.SIMPLE:
        raise unprocessable("fractional orders must be simple orders")


def _number(body: Mapping[str, Any], field: str) -> Decimal | None:
    value = body.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise invalid(f"invalid {field}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise invalid(f"invalid {field}") from None
    if not number.is_finite():
        raise invalid(f"invalid {field}")
    return number


def _choice(body: Mapping[str, Any], field: str, kind: type[E], default: E | None = None) -> E:
    value = body.get(field)
    if value is None or value == "":
        if default is None:
            raise invalid(f"{field} is required")
        return default
    if isinstance(value, str) and value in _ELSEWHERE.get(field, ()):
        raise not_simulated(f"{field} {value}")
    if value not in list(kind):
        raise invalid(f"invalid {field}")
    return kind(value)


def _required_text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if not value:
        raise invalid(f"{field} is required")
    if not isinstance(value, str):
        raise invalid(f"invalid {field}")
    return value


def _object(body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise invalid(f"invalid {field}")
    return value
