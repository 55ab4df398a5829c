"""The `trade_updates` stream: what happens to orders, as it happens and never again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from local.exchange.http.keys import ACCESS, LISTENERS, Access, same_text
from local.exchange.http.render import number, order_body, utc
from local.exchange.trading.ledger import Update
from local.exchange.trading.numbers import plain

PATH = "/stream"
STREAM = "trade_updates"
# A client that has not read this many updates is cut off; it reconciles when it is back.
BACKLOG_MAX = 10_000


class Listener:
    """One client that asked for updates, and what it has not been sent yet."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._backlog: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG_MAX)
        self._is_behind = False

    def tell(self, message: bytes) -> None:
        """Queue a message, unless the client is too far behind to be told anything more."""
        self._is_behind = self._is_behind or self._backlog.full()
        if not self._is_behind:
            self._backlog.put_nowait(message)

    async def send(self) -> None:
        """Send what is queued until the client is gone or so far behind that it must go."""
        while not (self._socket.closed or self._is_behind):
            await self._socket.send_bytes(await self._backlog.get())
        await self._socket.close(code=1008, message=b"too slow")

    async def close(self) -> None:
        await self._socket.close(code=1001, message=b"going away")


class Listeners:
    """Everyone who listens to the account's orders."""

    def __init__(self) -> None:
        self._joined: dict[Listener, asyncio.Task[None]] = {}

    def join(self, listener: Listener) -> None:
        self._joined[listener] = asyncio.create_task(listener.send())

    def leave(self, listener: Listener) -> None:
        sender = self._joined.pop(listener, None)
        if sender is not None:
            sender.cancel()

    def tell(self, update: Update) -> None:
        """Pass an update on; the ledger calls this after the update was written."""
        if not self._joined:
            return
        message = _message(STREAM, update_body(update))
        for listener in self._joined:
            listener.tell(message)

    async def close(self, _: web.Application) -> None:
        """Tell every listener that the exchange goes away."""
        for listener in list(self._joined):
            await listener.close()


async def stream(request: web.Request) -> web.WebSocketResponse:
    """Serve one client: authenticate, then listen; anything else ends the connection."""
    socket = web.WebSocketResponse(heartbeat=10.0)
    await socket.prepare(request)
    listeners, listener = request.app[LISTENERS], Listener(socket)
    authorized = False
    try:
        async for message in socket:
            action, data = _read(message.type, message.data)
            if action == "authenticate":
                authorized = _is_authorized(data, request.app[ACCESS])
                await socket.send_bytes(_message("authorization", _verdict(authorized)))
            if not authorized:
                break
            if action == "listen":
                await socket.send_bytes(_message("listening", {"streams": [STREAM]}))
                listeners.leave(listener)
                listeners.join(listener)
    finally:
        listeners.leave(listener)
    return socket


def update_body(update: Update) -> dict[str, Any]:
    """Return the data of one `trade_updates` message."""
    body: dict[str, Any] = {
        "event": update.event,
        "timestamp": utc(update.at),
        "order": order_body(update.order),
        "position_qty": plain(update.position_qty),
    }
    if update.fill is not None:
        fill = update.fill
        body |= {"execution_id": fill.id, "price": number(fill.price), "qty": plain(fill.qty)}
    return body


def _read(kind: WSMsgType, data: str | bytes) -> tuple[str, dict[str, Any]]:
    """Return the action of a client's message and its data; a broken message has neither."""
    try:
        message = json.loads(data) if kind in (WSMsgType.TEXT, WSMsgType.BINARY) else None
    except (ValueError, RecursionError):
        return "", {}
    if not isinstance(message, dict) or not isinstance(message.get("data", {}), dict):
        return "", {}
    return str(message.get("action", "")), message.get("data", {})


def _is_authorized(data: dict[str, Any], access: Access) -> bool:
    key_id, secret = str(data.get("key_id", "")), str(data.get("secret_key", ""))
    return same_text(key_id, access.key_id) & same_text(secret, access.secret_key)


def _verdict(authorized: bool) -> dict[str, str]:
    return {"status": "authorized" if authorized else "unauthorized", "action": "authenticate"}


def _message(name: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"stream": name, "data": data}, separators=(",", ":")).encode()
