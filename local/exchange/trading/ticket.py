"""What a client asks for: the body of `POST /v2/orders`, read field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from local.exchange.trading.errors import invalid, not_simulated, sub_penny, unprocessable
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Intent, OrderClass, OrderType, Side, TimeInForce, is_crypto

E = TypeVar("E", bound=StrEnum)

CLIENT_ORDER_ID_LENGTH_MAX = 128
QTY_DIGITS_MAX = 12
QTY_DECIMALS_MAX = 9
CRYPTO_PRICE_DECIMALS = 9

# Options only; this exchange has none: refused by name rather than misread.
_ELSEWHERE: dict[str, set[str]] = {"order_class": {"mleg"}}


@dataclass(frozen=True, slots=True)
class StopLoss:
    stop_price: Decimal
    limit_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A well-formed order request; whether the account may place it is another question.

    With a `notional` (US dollars) instead of a quantity, `qty` is zero.
    """

    symbol: str
    side: Side
    qty: Decimal = ZERO
    notional: Decimal | None = None
    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    order_class: OrderClass = OrderClass.SIMPLE
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: StopLoss | None = None
    extended_hours: bool = False
    client_order_id: str | None = None
    intent: Intent | None = None

    @property
    def is_crypto(self) -> bool:
        return is_crypto(self.symbol)


def read_ticket(body: Mapping[str, Any]) -> Ticket:
    """Return the ticket that `body` describes, each field well formed.

    Raises
    ------
    Refusal if a field is missing, malformed or not simulated
    """
    symbol = _required_text(body, "symbol").upper()
    take_profit, stop_loss = _exits(body)
    notional = read_notional(body)
    return Ticket(
        symbol=symbol,
        side=_choice(body, "side", Side),
        qty=read_qty(body) if notional is None else ZERO,
        notional=notional,
        type=_choice(body, "type", OrderType),
        time_in_force=_choice(body, "time_in_force", TimeInForce),
        order_class=_choice(body, "order_class", OrderClass, OrderClass.SIMPLE),
        limit_price=read_price(body, "limit_price", crypto=is_crypto(symbol)),
        stop_price=read_price(body, "stop_price", crypto=is_crypto(symbol)),
        trail_price=read_price(body, "trail_price"),
        trail_percent=read_percent(body, "trail_percent"),
        take_profit=take_profit,
        stop_loss=stop_loss,
        extended_hours=_flag(body, "extended_hours"),
        client_order_id=read_client_order_id(body),
        intent=_choice(body, "position_intent", Intent) if body.get("position_intent") else None,
    )


def read_qty(body: Mapping[str, Any], field: str = "qty") -> Decimal:
    """Return a quantity of shares: above zero, at most nine decimals, not absurd."""
    qty = _number(body, field)
    if qty is None:
        raise invalid(f"{field} is required")
    return _check_amount(qty, field)


def read_notional(body: Mapping[str, Any]) -> Decimal | None:
    """Return the US dollars to trade for, or None; a quantity beside them is a contradiction."""
    notional = _number(body, "notional")
    if notional is None:
        return None
    if _number(body, "qty") is not None:
        raise invalid("only one of qty or notional is accepted")
    return _check_amount(notional, "notional")


def read_price(body: Mapping[str, Any], field: str, name: str | None = None, *, crypto: bool = False) -> Decimal | None:
    """Return a price in US dollars, or None; at most two decimals, four under one dollar."""
    price, name = _number(body, field), name or field
    if price is None:
        return None
    if price <= 0:
        raise unprocessable(f"{name} must be > 0")
    if price.adjusted() >= QTY_DIGITS_MAX:
        raise unprocessable(f"{name} is too large")
    decimals = CRYPTO_PRICE_DECIMALS if crypto else 2 if price >= 1 else 4
    if price.adjusted() < -decimals or price != round(price, decimals):
        raise sub_penny(name, price)
    return price


def read_percent(body: Mapping[str, Any], field: str) -> Decimal | None:
    """Return a percentage above 0 and below 100 (1.5 means 1.5 %), or None."""
    percent = _number(body, field)
    if percent is None:
        return None
    if not 0 < percent < 100 or percent.adjusted() < -QTY_DECIMALS_MAX:
        raise unprocessable(f"{field} must be between 0 and 100")
    return percent


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


def _check_amount(amount: Decimal, field: str) -> Decimal:
    if amount <= 0:
        raise invalid(f"{field} must be > 0")
    if amount.adjusted() >= QTY_DIGITS_MAX:
        raise invalid(f"{field} is too large")
    if amount.adjusted() < -QTY_DECIMALS_MAX or amount != round(amount, QTY_DECIMALS_MAX):
        raise invalid(f"{field} increment must be at least 0.000000001")
    return amount


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


def _flag(body: Mapping[str, Any], field: str) -> bool:
    value = body.get(field)
    if value not in (None, True, False):
        raise invalid(f"invalid {field}")
    return bool(value)


def _choice(body: Mapping[str, Any], field: str, kind: type[E], default: E | None = None) -> E:
    value = body.get(field)
    if value is None or value == "":
        if default is None:
            raise invalid(f"{field} is required")
        return default
    if isinstance(value, str) and value in _ELSEWHERE.get(field, ()):
        raise not_simulated(f"{field} {value}")
    try:
        return kind(value)
    except ValueError:
        raise invalid(f"invalid {field}") from None


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
