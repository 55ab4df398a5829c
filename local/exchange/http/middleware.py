"""What happens around every request: ids, keys, limits, faults, and refusals as bodies."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from uuid import UUID, uuid4

from aiohttp import web
from aiohttp.typedefs import Middleware

from local.exchange.http import misbehaviour, stream
from local.exchange.http.faults import Handler
from local.exchange.http.keys import ACCESS, ACCOUNTS, FAULTS, admit, exchange_of, member, member_of, same_text
from local.exchange.http.render import json_response
from local.exchange.trading.errors import Refusal, not_simulated

RATE_WINDOW_S = 60
UNLIMITED = 1_000_000  # what the headers say when no limit is set
SIM_PREFIX = "/_sim/"
CRYPTO_DATA = "/v1beta3/crypto/"
ACCOUNT_HEADER = "X-Sim-Account"  # names the account that a call to /_sim is about


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every answer a request id, refusals included."""
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = json_response(refusal.body, refusal.status)
    except web.HTTPNotFound:
        response = _unknown_path(request)
    except web.HTTPMethodNotAllowed:
        response = _not_simulated(request)
    response.headers["X-Request-ID"] = uuid4().hex
    return response


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in the key pair of an account, and the simulator's token on its own prefix.

    Crypto data needs no keys, as at Alpaca; where there are some, they must be right.
    """
    if request.path.startswith(SIM_PREFIX):
        return await _authenticate_simulator(request, handler)
    if request.path == stream.PATH:
        return await handler(request)  # its first message carries the keys
    key_id = request.headers.get("APCA-API-KEY-ID")
    secret = request.headers.get("APCA-API-SECRET-KEY")
    if not (key_id or secret) and request.path.startswith(CRYPTO_DATA):
        first = next(each for each in request.app[ACCOUNTS])
        admit(request, replace(first, key_id=""))
        return await handler(request)
    if not key_id or not secret:
        return json_response({"message": "unauthorized."}, 401)
    found = member_of(request.app[ACCOUNTS], key_id, secret)
    if found is None:
        return json_response({"message": "forbidden."}, 403)
    admit(request, found)
    return await handler(request)


async def _authenticate_simulator(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Open /_sim for the admin token, if the exchange was started with one; else it is not there."""
    access, accounts = request.app[ACCESS], request.app[ACCOUNTS]
    token = request.headers.get("X-Sim-Token", "")
    found = accounts.get(request.headers.get(ACCOUNT_HEADER, access.key_id))
    if access.admin_token is None or not same_text(token, access.admin_token) or found is None:
        return json_response({"message": "not found"}, 404)
    admit(request, found)
    return await handler(request)


class RateLimiter:
    """A fixed window a minute long for each key, told in Alpaca's headers; wall time, not market time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit or UNLIMITED
        self._window = 0
        self._used: dict[str, int] = {}

    def middleware(self) -> Middleware:
        @web.middleware
        async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(SIM_PREFIX) or request.path == stream.PATH:
                return await handler(request)
            headers, exceeded = self._count(member(request).key_id)
            if exceeded:
                response: web.StreamResponse = misbehaviour.rate_limited()
            else:
                response = await _answer(request, handler)
            if response.status == 429:
                headers["X-RateLimit-Remaining"] = "0"
            response.headers.update(headers)
            return response

        return limit

    def _count(self, key_id: str) -> tuple[dict[str, str], bool]:
        window = int(time.time()) // RATE_WINDOW_S
        if window != self._window:
            self._window, self._used = window, {}
        used = self._used[key_id] = self._used.get(key_id, 0) + 1
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - used)),
            "X-RateLimit-Reset": str((window + 1) * RATE_WINDOW_S),
        }
        return headers, used > self.limit


@web.middleware
async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Apply an armed fault; the simulator's own routes always behave."""
    switch = request.app[FAULTS]
    if not switch.armed or request.path.startswith(SIM_PREFIX) or request.path == stream.PATH:
        return await handler(request)
    fault = switch.take_for_route(_route(request), await _symbol(request))
    if fault is None:
        return await handler(request)

    async def answer(asked: web.Request) -> web.StreamResponse:
        return await _answer(asked, handler)

    return await misbehaviour.misbehave(request, answer, fault, switch)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the answer of a handler, its refusals included, so that headers go on both."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return json_response(refusal.body, refusal.status)
    except web.HTTPNotFound:
        return _unknown_path(request)
    except web.HTTPMethodNotAllowed:
        return _not_simulated(request)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else request.path}"


async def _symbol(request: web.Request) -> str | None:
    """Return the security that a request is about: by its path, its order, its body or its query."""
    if "symbol" in request.match_info:
        return request.match_info["symbol"].upper()
    if "order_id" in request.match_info:
        return _symbol_of_order(request)
    try:
        body = json.loads(await request.read() or "{}")
    except (ValueError, RecursionError):
        return None
    named = body.get("symbol") if isinstance(body, dict) else None
    named = named or request.query.get("symbols") or _symbol_of_client_id(request)
    return named.upper() if isinstance(named, str) else None


def _symbol_of_order(request: web.Request) -> str | None:
    try:
        order = exchange_of(request).ledger.order(str(UUID(request.match_info["order_id"])))
    except ValueError:
        return None
    return order.symbol if order else None


def _symbol_of_client_id(request: web.Request) -> str | None:
    client_order_id = request.query.get("client_order_id")
    if not client_order_id:
        return None
    order = exchange_of(request).ledger.store.order_by_client_id(client_order_id)
    return order.symbol if order else None


def _unknown_path(request: web.Request) -> web.Response:
    if request.path.startswith("/v"):
        return _not_simulated(request)
    return json_response({"message": "not found"}, 404)


def _not_simulated(request: web.Request) -> web.Response:
    refusal = not_simulated(f"{request.method} {request.path}")
    return json_response(refusal.body, refusal.status)
