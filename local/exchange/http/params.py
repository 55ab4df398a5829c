"""Reading requests: JSON bodies and query parameters, refused where they make no sense."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from aiohttp import web

from local.exchange.market.calendar import NEW_YORK
from local.exchange.trading.errors import invalid, malformed_body

E = TypeVar("E", bound=StrEnum)


async def json_body(request: web.Request) -> dict[str, Any]:
    """Return the body as an object, numbers as the exact decimals that were sent."""
    try:
        sent = await request.read()
        body = _DECODER.decode(sent.decode(json.detect_encoding(sent), "surrogatepass"))
    except (ValueError, ArithmeticError, RecursionError):
        raise malformed_body() from None
    if not isinstance(body, dict):
        raise malformed_body()
    return body


def flag(query: Mapping[str, str], name: str, default: bool = False) -> bool:
    """Return a boolean parameter; Python clients send `True`."""
    text = query.get(name, str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise invalid(f"invalid {name}")
    return text in ("true", "1")


def count(query: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise invalid(f"invalid {name}")
    return min(int(text), highest)


def choice(query: Mapping[str, str], name: str, default: E) -> E:
    text = query.get(name, default).lower()
    if text not in list(type(default)):
        raise invalid(f"invalid {name}")
    return type(default)(text)


def symbols(query: Mapping[str, str], name: str = "symbols") -> list[str]:
    return [part.strip().upper() for part in query.get(name, "").split(",") if part.strip()]


def moment(query: Mapping[str, str], name: str, *, end_of_day: bool = False) -> datetime | None:
    """Return a time parameter as aware UTC; a bare date means New York's day."""
    text = query.get(name)
    if not text:
        return None
    try:
        if len(text) == 10:
            edge = time.max if end_of_day else time.min
            return datetime.combine(date.fromisoformat(text), edge, NEW_YORK).astimezone(UTC)
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(f"invalid {name}") from None


def day(query: Mapping[str, str], name: str) -> date | None:
    text = query.get(name)
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        raise invalid(f"invalid {name}") from None


def order_id(request: web.Request) -> str:
    """Return the order id of the path in the form the ledger uses."""
    try:
        return str(UUID(request.match_info["order_id"]))
    except ValueError:
        raise invalid("order_id is missing") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant)
