"""How a fault that hits a route shows in its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from local.exchange.http.faults import Fault, FaultSwitch, Handler, Kind
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import json_response
from local.exchange.market.calendar import TICK
from local.exchange.trading.hours import Clock

ERROR_STATUS = {
    Kind.ERROR_BEFORE: 500,
    Kind.BAD_GATEWAY_BEFORE: 502,
    Kind.UNAVAILABLE_BEFORE: 503,
    Kind.GATEWAY_TIMEOUT_BEFORE: 504,
    Kind.ERROR_AFTER_ACCEPT: 500,
    Kind.GATEWAY_TIMEOUT_AFTER_ACCEPT: 504,
}
RESET_S = 60
FAULT = web.RequestKey("fault", Fault)  # the fault that a route is to carry out


async def misbehave(request: web.Request, handler: Handler, fault: Fault, switch: FaultSwitch) -> web.StreamResponse:
    """Answer a request as `fault` has it, without the exchange, after it, or through it."""
    early = await _before(fault, switch)
    if early is not None:
        return early
    request[FAULT] = fault
    response = await handler(request)
    return await _after(request, response, fault, switch)


def seen_clock(request: web.Request) -> Clock:
    """Return the tick whose quotes a request sees: the present one, or with `quote_stale` one of before."""
    exchange = request.app[EXCHANGE]
    fault = fault_of(request, Kind.QUOTE_STALE)
    if fault is None:
        return exchange.ledger.clock
    calendar = exchange.market.calendar
    at = exchange.ledger.clock.time(calendar) - timedelta(milliseconds=fault.delay_ms)
    moment = calendar.moment_at(at)
    return Clock(moment, (at - calendar.time_of(moment)) // TICK)


def fault_of(request: web.Request, *kinds: Kind) -> Fault | None:
    """Return the fault that a route is to carry out, if it is one of `kinds`."""
    fault = request.get(FAULT)
    return fault if fault is not None and fault.kind in kinds else None


async def _before(fault: Fault, switch: FaultSwitch) -> web.StreamResponse | None:
    """Return the answer of a fault that keeps the request from the exchange."""
    match fault.kind:
        case Kind.HANG:
            return await _hang(switch)
        case Kind.DELAY:
            await asyncio.sleep(fault.delay_ms / 1000)
            return None
        case Kind.UNAUTHORIZED:
            return json_response({"message": "unauthorized."}, 401)
        case Kind.RATE_LIMITED:
            return rate_limited()
        case Kind.REFUSE:
            return _refused(fault)
    return _gateway_error(ERROR_STATUS[fault.kind]) if fault.kind.endswith("_before") else None


async def _after(
    request: web.Request, response: web.StreamResponse, fault: Fault, switch: FaultSwitch
) -> web.StreamResponse:
    """Return what the client sees of an answer that the exchange has given."""
    match fault.kind:
        case Kind.HANG_AFTER_ACCEPT:
            return await _hang(switch)
        case Kind.DELAY_AFTER_ACCEPT:
            await asyncio.sleep(fault.delay_ms / 1000)
            return response
        case Kind.RESET_AFTER_ACCEPT:
            if request.transport is not None:
                request.transport.abort()
            return _gateway_error(502)  # nobody reads it: the connection is gone
    if fault.kind in ERROR_STATUS:
        return _gateway_error(ERROR_STATUS[fault.kind])
    return _disfigured(response, fault) if isinstance(response, web.Response) else response


def rate_limited(reset_s: int = RESET_S) -> web.Response:
    """Return Alpaca's 429; the client may come back when the minute that it names is over."""
    response = json_response({"code": 42910000, "message": "rate limit exceeded"}, 429)
    response.headers["Retry-After"] = str(reset_s)
    return response


def _refused(fault: Fault) -> web.Response:
    """Return a refusal of the test's own wording; by default that of buying power."""
    body = fault.options.get("body") or {"code": 40310000, "message": "insufficient buying power"}
    return json_response(body, int(fault.options.get("status", 403)))


def _gateway_error(status: int) -> web.Response:
    page = f"<html><head><title>{status}</title></head><body>upstream error</body></html>"
    return web.Response(status=status, text=page, content_type="text/html")


async def _hang(switch: FaultSwitch) -> web.StreamResponse:
    await switch.hang()
    return _gateway_error(503)


def _disfigured(response: web.Response, fault: Fault) -> web.Response:
    """Return the answer with its text or its JSON changed as the fault says."""
    text = response.text or ""
    match fault.kind:
        case Kind.TRUNCATED_JSON:
            return _text(response, text[: len(text) // 2])
        case Kind.EMPTY_BODY:
            return _text(response, "")
        case Kind.HTML_BODY:
            return _text(response, "<html><body>scheduled maintenance</body></html>")
    change = _CHANGES.get(fault.kind)
    if change is None or not text:
        return response
    body = json.loads(text)
    for part in body if isinstance(body, list) else [body]:
        change(part, fault)
    return _text(response, json.dumps(body, separators=(",", ":")))


def _text(response: web.Response, text: str) -> web.Response:
    return web.Response(status=response.status, text=text, content_type="application/json")


def _set_field(body: dict[str, Any], fault: Fault) -> None:
    """Set a field, known or not; by default the status to one that no client knows."""
    body[str(fault.options.get("field", "status"))] = fault.options.get("value", "accepted_for_teleport")


def _drop_field(body: dict[str, Any], fault: Fault) -> None:
    body.pop(str(fault.options.get("field", "status")), None)


def _skew_clock(body: dict[str, Any], fault: Fault) -> None:
    if "timestamp" in body:
        shifted = datetime.fromisoformat(body["timestamp"]) + timedelta(milliseconds=fault.delay_ms)
        body["timestamp"] = shifted.isoformat()


def _lock_quotes(body: dict[str, Any], _: Fault) -> None:
    for quote in _quotes(body):
        quote["bp"] = quote["ap"]


def _cross_quotes(body: dict[str, Any], _: Fault) -> None:
    for quote in _quotes(body):
        quote["bp"], quote["ap"] = quote["ap"] + 0.01, quote["bp"]


def _lose_bars(body: dict[str, Any], _: Fault) -> None:
    """Leave out every other bar; of latest bars all."""
    bars = body.get("bars")
    if isinstance(bars, dict):
        kept = {symbol: rows[::2] for symbol, rows in bars.items() if isinstance(rows, list)}
        body["bars"] = kept


def _lose_volume(body: dict[str, Any], _: Fault) -> None:
    for bar in _rows(body, "bars"):
        bar["v"] = 0


def _quotes(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the quotes of a data answer, those of snapshots included (of shares they have no wrapper)."""
    snapshots = body.get("snapshots", body)
    inside = [each["latestQuote"] for each in snapshots.values() if isinstance(each, dict) and "latestQuote" in each]
    return _rows(body, "quotes") + inside


def _rows(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rows of a data answer, whether one or many come for each symbol."""
    found = body.get(name) or {}
    rows: list[dict[str, Any]] = []
    for value in found.values() if isinstance(found, dict) else []:
        rows += value if isinstance(value, list) else [value]
    return rows


_CHANGES: dict[Kind, Callable[[dict[str, Any], Fault], None]] = {
    Kind.SET_FIELD: _set_field,
    Kind.MISSING_FIELD: _drop_field,
    Kind.CLOCK_SKEW: _skew_clock,
    Kind.QUOTE_LOCKED: _lock_quotes,
    Kind.QUOTE_CROSSED: _cross_quotes,
    Kind.BARS_MISSING: _lose_bars,
    Kind.VOLUME_ZERO: _lose_volume,
}
