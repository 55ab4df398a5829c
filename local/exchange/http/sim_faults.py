"""Routes under `/_sim` for what goes wrong: faults, accounts in trouble, trades by hand."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import fields as fields_of
from decimal import Decimal
from typing import Any

from aiohttp import web

from local.exchange.http import fields, params
from local.exchange.http.faults import Fault, Kind
from local.exchange.http.keys import ACCOUNTS, EXCHANGE, FAULTS, LAG, exchange_of
from local.exchange.http.members import welcome
from local.exchange.http.render import json_response, order_body
from local.exchange.trading import interventions
from local.exchange.trading.account import OPENING_CASH
from local.exchange.trading.accounts import Member
from local.exchange.trading.controls import Controls
from local.exchange.trading.errors import invalid, not_found
from local.exchange.trading.numbers import plain
from local.exchange.trading.order import Side, Status
from local.exchange.trading.ticket import read_qty

_KNOWN = {"kind", "route", "symbol", "count", "probability", "seed", "delay_ms", "ticks"}
_OPTIONS = {"status", "body", "field", "value", "fraction"}


async def list_faults(request: web.Request) -> web.Response:
    """List what is armed, with how often each has struck."""
    return json_response([_fault_body(fault) for fault in request.app[FAULTS].armed])


async def arm_fault(request: web.Request) -> web.Response:
    body = await params.json_body(request)
    fault = _read_fault(body)
    request.app[FAULTS].arm(fault)
    if fault.kind is Kind.POSITION_LAG:
        for member in request.app[ACCOUNTS]:
            request.app[LAG].start(member.exchange)
    return json_response({"armed": _fault_body(fault)})


async def clear_faults(request: web.Request) -> web.Response:
    request.app[FAULTS].clear()
    return json_response({"armed": None})


async def clear_fault(request: web.Request) -> web.Response:
    fault_id = request.match_info["fault_id"]
    if not fault_id.isdigit() or not request.app[FAULTS].disarm(int(fault_id)):
        raise not_found(f"no fault has the id {fault_id}")
    return json_response({"cleared": int(fault_id)})


async def account(request: web.Request) -> web.Response:
    return json_response(asdict(exchange_of(request).ledger.controls))


async def control_account(request: web.Request) -> web.Response:
    """Change what is wrong with an account: blocks, and assets that it may not trade as usual."""
    exchange, body = exchange_of(request), await params.json_body(request)
    known = {item.name for item in fields_of(Controls)} - {"halted", "fill_profile"}
    for name, value in body.items():
        if name not in known:
            raise invalid(f"unknown field: {name}")
        if type(value) is not type(getattr(exchange.ledger.controls, name)):
            raise invalid(f"invalid {name}")
    with interventions.controlled(exchange) as controls:
        for name, value in body.items():
            setattr(controls, name, value)
    return json_response(asdict(exchange.ledger.controls))


async def list_accounts(request: web.Request) -> web.Response:
    return json_response([_account_body(member) for member in request.app[ACCOUNTS]])


async def open_account(request: web.Request) -> web.Response:
    """Open a further account for a key pair, or give an open one a new secret."""
    body, accounts = await params.json_body(request), request.app[ACCOUNTS]
    key_id, secret = str(body.get("key_id", "")), str(body.get("secret_key", ""))
    is_new = accounts.get(key_id) is None
    member = accounts.open(key_id, secret, fields.number(body, "cash", OPENING_CASH))
    if is_new:
        welcome(request.app, member)
    return json_response(_account_body(member))


async def trade(request: web.Request) -> web.Response:
    """Trade at the quote at once, as a person does beside the program: it knows nothing of it."""
    exchange, body = exchange_of(request), await params.json_body(request)
    symbol = fields.symbol(request.app[EXCHANGE], body)
    if body.get("side") not in list(Side):
        raise invalid("side must be buy or sell")
    order = interventions.trade_by_hand(exchange, symbol, Side(body["side"]), read_qty(body))
    return json_response(order_body(order))


async def force_status(request: web.Request) -> web.Response:
    """Put an order into a rare state, back to work, or reject it late."""
    exchange, body = exchange_of(request), await params.json_body(request)
    if body.get("status") not in list(Status):
        raise invalid(f"status must be one of {', '.join(Status)}")
    return json_response(
        order_body(interventions.force_status(exchange, params.order_id(request), Status(body["status"])))
    )


def _read_fault(body: dict[str, Any]) -> Fault:
    kind, route = body.get("kind"), body.get("route", "*")
    if kind not in list(Kind):
        raise invalid(f"kind must be one of {', '.join(Kind)}")
    if not isinstance(route, str) or (route != "*" and " /" not in route and not route.endswith(" *")):
        raise invalid("route must be a method and a path, such as POST /v2/orders")
    unknown = body.keys() - _KNOWN - _OPTIONS
    if unknown:
        raise invalid(f"unknown field: {min(unknown)}")
    probability = fields.number(body, "probability", Decimal(1))
    if not 0 < probability <= 1:
        raise invalid("probability must be above 0 and at most 1")
    return Fault(
        kind=Kind(kind),
        route=route,
        symbol=str(body["symbol"]).upper() if "symbol" in body else None,
        count=_strikes(body),
        probability=float(probability),
        seed=int(fields.number(body, "seed", Decimal(0))),
        delay_ms=int(fields.number(body, "delay_ms", Decimal(0))),
        ticks=fields.count(body, "ticks", least=0) if "ticks" in body else 1,
        options={name: _json_value(body[name]) for name in _OPTIONS & body.keys()},
    )


def _strikes(body: dict[str, Any]) -> int | None:
    """Return how often a fault strikes: once, unless told otherwise; with a null without end."""
    if "count" not in body:
        return 1
    return None if body["count"] is None else fields.count(body, "count")


def _json_value(value: Any) -> Any:
    """Return a value as JSON can have it: the numbers of a body were read as decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, dict):
        return {name: _json_value(each) for name, each in value.items()}
    return value


def _fault_body(fault: Fault) -> dict[str, Any]:
    body = {name: getattr(fault, name) for name in ("id", "kind", "route", "symbol", "count", "probability", "hits")}
    return body | {"delay_ms": fault.delay_ms, "ticks": fault.ticks, **fault.options}


def _account_body(member: Member) -> dict[str, Any]:
    ledger = member.exchange.ledger
    return {"key_id": member.key_id, "id": ledger.account.id, "cash": plain(ledger.account.cash)}
