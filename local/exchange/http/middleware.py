"""What happens around every request: ids, keys, limits, faults, and refusals as bodies."""

from __future__ import annotations

import time
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Middleware

from local.exchange.http import stream
from local.exchange.http.faults import Handler
from local.exchange.http.keys import ACCESS, FAULTS, same_text
from local.exchange.http.render import json_response
from local.exchange.trading.errors import Refusal, not_simulated

RATE_WINDOW_S = 60
UNLIMITED = 1_000_000  # what the headers say when no limit is set
SIM_PREFIX = "/_sim/"


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
    """Let in the account's key pair, and the simulator's token on its own prefix."""
    access = request.app[ACCESS]
    if request.path.startswith(SIM_PREFIX):
        token = request.headers.get("X-Sim-Token", "")
        if access.admin_token is None or not same_text(token, access.admin_token):
            return json_response({"message": "not found"}, 404)
        return await handler(request)
    if request.path == stream.PATH:
        return await handler(request)  # its first message carries the keys
    key_id = request.headers.get("APCA-API-KEY-ID")
    secret = request.headers.get("APCA-API-SECRET-KEY")
    if not key_id or not secret:
        return json_response({"message": "unauthorized."}, 401)
    # Both are compared whatever the first says, so that timing tells nothing.
    if not (same_text(key_id, access.key_id) & same_text(secret, access.secret_key)):
        return json_response({"message": "forbidden."}, 403)
    return await handler(request)


class RateLimiter:
    """A fixed window a minute long, told in Alpaca's headers; wall time, not market time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit or UNLIMITED
        self._window = 0
        self._used = 0

    def middleware(self) -> Middleware:
        @web.middleware
        async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(SIM_PREFIX):
                return await handler(request)
            headers, exceeded = self._count()
            if exceeded:
                body = {"code": 42910000, "message": "rate limit exceeded"}
                response: web.StreamResponse = json_response(body, 429)
            else:
                response = await handler(request)
            response.headers.update(headers)
            return response

        return limit

    def _count(self) -> tuple[dict[str, str], bool]:
        window = int(time.time()) // RATE_WINDOW_S
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self._used)),
            "X-RateLimit-Reset": str((window + 1) * RATE_WINDOW_S),
        }
        return headers, self._used > self.limit


@web.middleware
async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Apply an armed fault; the simulator's own routes always behave."""
    if request.path.startswith(SIM_PREFIX):
        return await handler(request)
    return await request.app[FAULTS].apply(request, handler)


def _unknown_path(request: web.Request) -> web.Response:
    if request.path.startswith("/v"):
        return _not_simulated(request)
    return json_response({"message": "not found"}, 404)


def _not_simulated(request: web.Request) -> web.Response:
    refusal = not_simulated(f"{request.method} {request.path}")
    return json_response(refusal.body, refusal.status)
