"""Fields of what is sent to `/_sim`, read strictly: a test should not pass by a misspelling."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange

COUNT_MAX = 1_000_000


def symbol(exchange: Exchange, body: dict[str, Any]) -> str:
    name = str(body.get("symbol", "")).upper()
    if name not in exchange.market.tape.symbols:
        raise invalid(f"unknown symbol: {name}")
    return name


def flag(body: dict[str, Any], field: str, *, default: bool) -> bool:
    value = body.get(field, default)
    if not isinstance(value, bool):
        raise invalid(f"{field} must be true or false")
    return value


def count(body: dict[str, Any], field: str, *, least: int = 1) -> int:
    wanted = number(body, field)
    if not least <= wanted <= COUNT_MAX or wanted != int(wanted):
        raise invalid(f"{field} must be a whole number between {least} and {COUNT_MAX}")
    return int(wanted)


def number(body: dict[str, Any], field: str, default: Decimal | None = None) -> Decimal:
    value = body.get(field, default)
    if isinstance(value, bool) or not isinstance(value, str | Decimal):
        raise invalid(f"{field} must be a number")
    try:
        found = Decimal(value)
    except InvalidOperation:
        raise invalid(f"{field} must be a number") from None
    if not found.is_finite() or found.adjusted() > 9:
        raise invalid(f"{field} is out of range")
    return found
