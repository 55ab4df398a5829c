"""The fault switch: lets a test make chosen routes misbehave a chosen number of times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Kind(StrEnum):
    """What goes wrong; `before` means that the exchange never saw the request."""

    ERROR_BEFORE = "500_before"
    GATEWAY_TIMEOUT_AFTER_ACCEPT = "504_after_accept"
    RESET_AFTER_ACCEPT = "reset_after_accept"
    HANG = "hang"
    HANG_AFTER_ACCEPT = "hang_after_accept"
    DELAY = "delay"


@dataclass(slots=True)
class Fault:
    """One armed fault; `route` is a method and a path, such as `POST /v2/orders`."""

    route: str
    kind: Kind
    count: int
    delay_ms: int = 0


class FaultSwitch:
    """Armed faults, first armed first used; hangs last until `clear`."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._released = asyncio.Event()

    def arm(self, fault: Fault) -> None:
        self._armed.append(fault)

    def clear(self) -> None:
        """Disarm everything and let hanging requests go."""
        self._armed.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def apply(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request, misbehaving if a fault is armed for its route."""
        fault = self._take(request)
        if fault is None:
            return await handler(request)
        match fault.kind:
            case Kind.ERROR_BEFORE:
                return _error(500)
            case Kind.HANG:
                return await self._hang()
            case Kind.DELAY:
                await asyncio.sleep(fault.delay_ms / 1000)
                return await handler(request)
        await handler(request)
        match fault.kind:
            case Kind.GATEWAY_TIMEOUT_AFTER_ACCEPT:
                return _error(504)
            case Kind.HANG_AFTER_ACCEPT:
                return await self._hang()
        if request.transport is not None:
            request.transport.abort()
        return _error(502)  # nobody reads it: the connection is gone

    def _take(self, request: web.Request) -> Fault | None:
        route = _route(request)
        for fault in self._armed:
            if fault.route == route and fault.count > 0:
                fault.count -= 1
                return fault
        return None

    async def _hang(self) -> web.StreamResponse:
        await self._released.wait()
        return _error(503)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else request.path}"


def _error(status: int) -> web.Response:
    return web.Response(status=status, text="<html><body>upstream error</body></html>")
