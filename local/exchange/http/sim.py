"""Routes under `/_sim` for the market: its clock, prices, halts and fills, and the ledger's check."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from local.exchange.http import fields, params
from local.exchange.http.keys import ACCOUNTS, CLOCK_CHANGED, EXCHANGE, exchange_of
from local.exchange.http.render import json_response, utc
from local.exchange.market.calendar import Moment
from local.exchange.trading import interventions
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.numbers import plain

SECONDS_PER_SESSION_MIN = Decimal("0.1")
SECONDS_PER_SESSION_MAX = Decimal(86_400)


async def clock(request: web.Request) -> web.Response:
    return json_response(clock_body(request.app[EXCHANGE]))


async def set_clock(request: web.Request) -> web.Response:
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    state = exchange.ledger.state
    mode = body.get("mode", state.mode)
    if mode not in ("stepping", "running"):
        raise invalid("mode must be stepping or running")
    seconds = fields.number(body, "seconds_per_session", Decimal(str(state.seconds_per_session)))
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
            exchange.step_minutes(fields.count(body, "minutes"))
        case {"ticks": _}:
            exchange.step(fields.count(body, "ticks"))
        case {"to": "open"}:
            exchange.step_to_open()
        case {"to": "close"}:
            exchange.step_to_close()
        case {"to": "pre_open"}:
            exchange.step_to_pre_open()
        case _:
            raise invalid('one of minutes, ticks or to ("open", "close", "pre_open") is required')
    return json_response(clock_body(exchange))


async def price(request: web.Request) -> web.Response:
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    symbol, pct = fields.symbol(exchange, body), fields.number(body, "pct")
    if not -1 < pct <= 10:
        raise invalid("pct is a fraction above -1, such as -0.1")
    exchange.shock(symbol, pct)
    return json_response(clock_body(exchange))


async def halt(request: web.Request) -> web.Response:
    """Halt a symbol (orders in it are accepted and wait), or let it trade again."""
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    symbol, halted = fields.symbol(exchange, body), fields.flag(body, "halted", default=True)
    for member in request.app[ACCOUNTS]:
        interventions.halt(member.exchange, symbol, halted=halted)
    return json_response({"halted": exchange.ledger.controls.halted})


async def profile(request: web.Request) -> web.Response:
    return json_response({"profile": request.app[EXCHANGE].profile})


async def set_profile(request: web.Request) -> web.Response:
    """Choose how orders fill from the next tick on."""
    exchange, body = request.app[EXCHANGE], await params.json_body(request)
    wanted = body.get("profile")
    if wanted not in list(FillProfile):
        raise invalid(f"profile must be one of {', '.join(FillProfile)}")
    interventions.choose_profile(exchange, FillProfile(wanted))
    return json_response({"profile": exchange.profile})


async def ledger(request: web.Request) -> web.Response:
    """Return the ledger's own check, and what a test needs to count orders."""
    exchange = exchange_of(request)
    store = exchange.ledger.store
    problems = check_ledger(store)
    return json_response(
        {
            "ok": not problems,
            "now": utc(exchange.ledger.clock.time(exchange.market.calendar)),
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
