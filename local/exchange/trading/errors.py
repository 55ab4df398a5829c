"""Refusals, each with the status code and body that Alpaca sends."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from local.exchange.trading.numbers import plain

INVALID_REQUEST = 40010001
UNPROCESSABLE = 42210000
FORBIDDEN = 40310000
NOT_FOUND = 40410000


class Refusal(Exception):
    """The exchange says no; nothing has changed."""

    def __init__(self, status: int, code: int | None, message: str, **details: object) -> None:
        super().__init__(message)
        self.status = status
        self.body = details | ({"code": code} if code else {}) | {"message": message}


def invalid(message: str) -> Refusal:
    """Return the refusal of a missing or malformed field."""
    return Refusal(422, INVALID_REQUEST, message)


def unprocessable(message: str, **details: object) -> Refusal:
    """Return the refusal of a well-formed request that the rules do not allow."""
    return Refusal(422, UNPROCESSABLE, message, **details)


def forbidden(message: str, **details: object) -> Refusal:
    """Return the refusal of a request that this account may not make now."""
    return Refusal(403, FORBIDDEN, message, **details)


def not_found(message: str) -> Refusal:
    return Refusal(404, NOT_FOUND, message)


def not_simulated(what: str) -> Refusal:
    """Return the answer to what Alpaca can do and this exchange cannot (yet)."""
    return Refusal(501, None, f"not simulated by the paper exchange: {what}")


def malformed_body() -> Refusal:
    return Refusal(400, 40010000, "request body format is invalid")


def duplicate_client_order_id() -> Refusal:
    return invalid("client_order_id must be unique")


def insufficient_quantity(
    symbol: str, *, requested: Decimal, existing: Decimal, held: Decimal, holders: Iterable[str]
) -> Refusal:
    """Return the refusal to sell (or cover) more than is free; open orders hold the rest."""
    available = existing - held
    related = list(holders)
    return forbidden(
        f"insufficient qty available for order (requested: {plain(requested)}, available: {plain(available)})",
        symbol=symbol,
        available=plain(available),
        existing_qty=plain(existing),
        held_for_orders=plain(held),
        **({"related_orders": related} if related else {}),
    )


def insufficient_buying_power(*, available: Decimal, needed: Decimal) -> Refusal:
    return forbidden(
        "insufficient buying power",
        buying_power=plain(available.quantize(Decimal("0.01"))),
        cost_basis=plain(needed),
    )


def wash_trade(existing_order_id: str) -> Refusal:
    return forbidden(
        "potential wash trade detected. use complex orders",
        existing_order_id=existing_order_id,
        reject_reason="opposite side market/stop order exists",
    )


def wash_trade_limits(existing_order_id: str, *, held_side: str, buy_limit: Decimal, sell_limit: Decimal) -> Refusal:
    """Return the refusal of a limit that would meet a resting limit of the other side."""
    reason = {
        "sell": "sell order exists, buy limit price should be less than existing sell limit price",
        "buy": "buy order exists, sell limit price should be greater than existing buy limit price",
    }[held_side]
    return forbidden(
        "potential wash trade detected. use complex orders",
        existing_order_id=existing_order_id,
        buy_limit_price=plain(buy_limit),
        sell_limit_price=plain(sell_limit),
        reject_reason=reason,
    )


def opens_both_ways(side: str) -> Refusal:
    """Return the refusal of an order that opens while one of the other side waits to open."""
    both = {"sell": "a short sell while a long buy", "buy": "a long buy while a short sell"}
    return forbidden(f"cannot open {both[side]} order is open")


def insufficient_balance(coin: str, *, requested: Decimal, available: Decimal) -> Refusal:
    """Return the refusal of a crypto order that wants more coins or dollars than there are."""
    wanted, free = plain(requested), plain(available)
    return forbidden(f"insufficient balance for {coin} (requested: {wanted}, available: {free})")


def already(status: str) -> Refusal:
    """Return the refusal to change an order that has come too far."""
    return unprocessable(f'order is already in "{status}" state')


def sub_penny(field: str, price: Decimal) -> Refusal:
    return unprocessable(
        f"invalid {field} {plain(price)}. sub-penny increment does not fulfill minimum pricing criteria"
    )
