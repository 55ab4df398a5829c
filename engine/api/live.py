"""`WS /ws`: `health_update` at connect and on every change, for as long as the caller's token holds.

Each connection asks the authority with its own token, so that a connection sees what its person may see and ends
when that person's rights do. Nothing is queued: a slow reader misses what came between, never the newest state.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from db import commands
from db.errors import AuthorityError, Forbidden, NotSignedIn
from engine.api.caller import Caller, Callers, token_ends_at
from engine.api.control import health_view
from engine.api.runtime import open_alerts_of
from engine.service.health_tracker import HealthTracker

PROTOCOL: Final = "interlock.v1"
TOKEN_PREFIX: Final = "bearer."
CONNECTIONS_MAX: Final = 100
ASKING_AT_ONCE: Final = 4  # of the threads that answer HTTP calls, however many connections there are
CHECK_EVERY_S: Final = 1.0
TOKEN_WITHIN_S: Final = 5.0
SEND_WITHIN_S: Final = 5.0
_PASSING: Final = frozenset({"checked_at", "engine"})


class Close(NamedTuple):
    """How a connection ends: the code tells a program what to do, the reason a person."""

    code: int
    reason: str


BAD_MESSAGE: Final = Close(4400, 'Send nothing but {"type": "auth", "token": "..."}, and no token in the address.')
SIGN_IN: Final = Close(4401, "The token is missing, forged or has ended: sign in and connect with the new one.")
NO_MEMBER: Final = Close(4403, "This sign-in has ended, or is no member's: ask an admin.")
NO_TOKEN: Final = Close(4408, "No token came within five seconds of connecting.")
TOO_SLOW: Final = Close(4413, "Nothing was read for five seconds: connect again when you can keep up.")
TOO_MANY: Final = Close(1013, "Too many connections: try again later.")


class Live:
    """All connections of one API."""

    def __init__(self, health: HealthTracker, callers: Callers, now: Callable[[], datetime]) -> None:
        self.health = health
        self.callers = callers
        self.now = now
        self.open = 0
        self.asking = anyio.CapacityLimiter(ASKING_AT_ONCE)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends."""
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        self.open += 1
        try:
            end = TOO_MANY if self.open > CONNECTIONS_MAX else await _Viewer(self, socket).run(_shown(socket, offered))
        except WebSocketDisconnect:
            end = None
        finally:
            self.open -= 1
        if end:
            with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):  # gone already
                await asyncio.wait_for(socket.close(*end), SEND_WITHIN_S)


class _Viewer:
    """One connection: who it is for, until when, and what it was told last."""

    def __init__(self, live: Live, socket: WebSocket) -> None:
        self._live = live
        self._socket = socket
        self._caller: Caller | None = None
        self._ends_at: datetime | None = None
        self._told: object = None
        self._look_now = asyncio.Event()

    async def run(self, token: str | None) -> Close | None:
        """Tell of changes until the connection ends; return how to close it, None when it is closed already."""
        if any("token" in name.lower() for name in self._socket.query_params):
            return BAD_MESSAGE  # an address is logged everywhere; whoever sends a token there has to learn it
        if token is None and (end := await self._first_message()):
            return end
        if token is not None and (end := await self._identify(token)):
            return end
        tasks = [asyncio.create_task(self._tell()), asyncio.create_task(self._listen())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return done.pop().result()

    async def _first_message(self) -> Close | None:
        try:
            return await asyncio.wait_for(self._hear(), TOKEN_WITHIN_S)
        except TimeoutError:
            return NO_TOKEN

    async def _listen(self) -> Close:
        """Take over fresh tokens, so that a connection may outlive its first one."""
        while True:
            if end := await self._hear():
                return end
            self._look_now.set()

    async def _hear(self) -> Close | None:
        token = _token_in(await self._socket.receive())
        return BAD_MESSAGE if token is None else await self._identify(token)

    async def _identify(self, token: str) -> Close | None:
        ends_at = token_ends_at(token)
        try:  # in a thread: a new client takes 30 ms to make
            self._caller = await run_sync(self._live.callers.of, token, limiter=self._live.asking)
        except NotSignedIn:
            return SIGN_IN
        self._ends_at = ends_at
        return None if ends_at else SIGN_IN

    async def _tell(self) -> Close:
        while True:
            if end := await self._look():
                return end
            self._look_now.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._wait_s())

    async def _look(self) -> Close | None:
        """Send what is the case now, if it is news; return how to close when that is due."""
        if self._left_s() <= 0:
            return SIGN_IN
        try:
            message = await run_sync(self._read, limiter=self._live.asking)
        except NotSignedIn:
            return SIGN_IN
        except Forbidden:
            return NO_MEMBER
        except AuthorityError as error:
            message = {"type": "health_unknown", "code": error.code, "message": error.message}
        return await self._send(message)

    def _read(self) -> dict[str, Any]:
        assert self._caller is not None, "a viewer is identified before it is told anything"
        control = commands.trading_status(self._caller.client)
        return {
            "type": "health_update",
            "health": health_view(self._live.health, control),
            "alerts": open_alerts_of(self._caller),
        }

    async def _send(self, message: dict[str, Any]) -> Close | None:
        if (news := _gist(message)) == self._told:
            return None
        try:
            await asyncio.wait_for(self._socket.send_json(message), SEND_WITHIN_S)
        except TimeoutError:
            return TOO_SLOW
        self._told = news
        return None

    def _left_s(self) -> float:
        assert self._ends_at is not None, "a viewer's token has an end"
        return (self._ends_at - self._live.now()).total_seconds()

    def _wait_s(self) -> float:
        return max(0.0, min(CHECK_EVERY_S, self._left_s()))


def add_live_route(api: FastAPI, live: Live) -> None:
    """Serve `/ws`."""

    @api.websocket("/ws")
    async def health_updates(socket: WebSocket) -> None:
        await live.serve(socket)


def _shown(socket: WebSocket, offered: list[str]) -> str | None:
    """Return the token of the header, or of the subprotocol that a browser can set; None when there is neither."""
    kind, _, token = socket.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    return next((name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)), None)


def _token_in(message: Any) -> str | None:
    """Return the token of an `auth` message; None when it is none.

    Raises
    ------
    WebSocketDisconnect
    """
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000), message.get("reason"))
    try:
        said = json.loads(message.get("text") or "")
    except (ValueError, RecursionError):
        return None
    token = said.get("token") if isinstance(said, dict) and said.get("type") == "auth" else None
    return token if isinstance(token, str) else None


def _gist(message: dict[str, Any]) -> object:
    """Return what makes a message news: everything but ages and times of looking."""
    if message["type"] != "health_update":
        return message
    health = message["health"]
    control = {key: value for key, value in health["tradingControl"].items() if key not in _PASSING}
    jobs = {name: job.get("healthy") for name, job in health["jobs"].items()}
    alive = health["tradingControl"]["engine"]["alive"]
    told = [health.get(key) for key in ("ready", "isPaused", "brake", "reasons")]
    return [control, alive, jobs, message["alerts"], *told]
