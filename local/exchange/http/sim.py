"""Routes under `/_sim`: the simulator's own controls, for tests and for the replay of history."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.faults import Fault, Kind
from local.exchange.http.keys import CLOCK_CHANGED, EXCHANGE, FAULTS
from local.exchange.http.render import json_response, utc
from local.exchange.market.calendar import Moment
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.numbers import plain

SECONDS_PER_SESSION_MIN = Decimal("0.1")
SECONDS_PER_SESSION_MAX = Decimal(86_400)
STEP_MAX = 1_000_000


async def clock(request: web.Request) -> web.Response:
    return json_response(clock_body(request.app[EXCHANGE]))


async def set_clock(request: web.Request) -> web.Response:
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    state = exchange.ledger.state
    mode = body.get("mode", state.mode)
    if mode not in ("stepping", "running"):
        raise invalid("mode must be stepping or running")
    seconds = _number(body, "seconds_per_session", Decimal(str(state.seconds_per_session)))
    if not SECONDS_PER_SESSION_MIN <= seconds <= SECONDS_PER_SESSION_MAX:
        raise invalid("seconds_per_session must be between 0.1 and 86400")
    exchange.set_clock(mode=mode, seconds_per_session=float(seconds))
    request.app[CLOCK_CHANGED].set()
    return json_response(clock_body(exchange))


async def step(request: web.Request) -> web.Response:
    """Move simulated time by minutes, by ticks, or to the next open or close."""
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    match body:
        case {"minutes": _}:
            exchange.step_minutes(_count(body, "minutes"))
        case {"ticks": _}:
            exchange.step(_count(body, "ticks"))
        case {"to": "open"}:
            exchange.step_to_open()
        case {"to": "close"}:
            exchange.step_to_close()
        case _:
            raise invalid('one of minutes, ticks or to ("open", "close") is required')
    return json_response(clock_body(exchange))


async def price(request: web.Request) -> web.Response:
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    symbol, pct = str(body.get("symbol", "")).upper(), _number(body, "pct")
    if symbol not in exchange.market.tape.symbols:
        raise invalid(f"unknown symbol: {symbol}")
    if not -1 < pct <= 10:
        raise invalid("pct is a fraction above -1, such as -0.1")
    exchange.shock(symbol, pct)
    return json_response(clock_body(exchange))


async def arm_fault(request: web.Request) -> web.Response:
    body = await params.json_body(request)
    kind, route = body.get("kind"), body.get("route")
    if kind not in list(Kind):
        raise invalid(f"kind must be one of {', '.join(Kind)}")
    if not isinstance(route, str) or " /" not in route:
        raise invalid("route must be a method and a path, such as POST /v2/orders")
    count = _count(body, "count") if "count" in body else 1
    delay_ms = int(_number(body, "delay_ms", Decimal(0)))
    request.app[FAULTS].arm(Fault(route, Kind(kind), count, delay_ms))
    return json_response({"armed": {"route": route, "kind": kind, "count": count}})


async def clear_faults(request: web.Request) -> web.Response:
    request.app[FAULTS].clear()
    return json_response({"armed": None})


async def ledger(request: web.Request) -> web.Response:
    """Return the ledger's own check, and what a test needs to count orders."""
    exchange = request.app[EXCHANGE]
    store = exchange.ledger.store
    problems = check_ledger(store)
    return json_response(
        {
            "ok": not problems,
            "problems": problems,
            "cash": plain(exchange.account.cash),
            "positions": {held.symbol: plain(held.qty) for held in exchange.account.positions.values()},
            "order_count": store.count_orders(),
            "orders": [
                {
                    "id": order.id,
                    "client_order_id": order.client_order_id,
                    "parent_id": order.parent_id,
                    "symbol": order.symbol,
                    "status": order.status,
                    "qty": plain(order.qty),
                    "filled_qty": plain(order.filled_qty),
                }
                for order in store.orders("true order by seq", [])
            ],
        }
    )


def clock_body(exchange: Exchange) -> dict[str, Any]:
    state, calendar = exchange.ledger.state, exchange.market.calendar
    last = exchange.market.tape.last_session
    closed = state.session + (state.tick >= calendar[state.session].last_tick)
    end: datetime = calendar.time_of(Moment(last, calendar[last].last_tick))
    return {
        "now": utc(exchange.ledger.now),
        "mode": state.mode,
        "seconds_per_session": state.seconds_per_session,
        "session_date": calendar[state.session].date.isoformat(),
        "is_open": exchange.ledger.is_open,
        "sessions_elapsed": closed - state.first_session,
        "sessions_left": last + 1 - closed,
        "tape_end": utc(end),
    }


def _count(body: dict[str, Any], field: str) -> int:
    number = _number(body, field)
    if not 1 <= number <= STEP_MAX or number != int(number):
        raise invalid(f"{field} must be a whole number between 1 and {STEP_MAX}")
    return int(number)


def _number(body: dict[str, Any], field: str, default: Decimal | None = None) -> Decimal:
    value = body.get(field, default)
    if isinstance(value, bool) or not isinstance(value, str | Decimal):
        raise invalid(f"{field} must be a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise invalid(f"{field} must be a number") from None
    if not number.is_finite() or number.adjusted() > 9:
        raise invalid(f"{field} is out of range")
    return number
