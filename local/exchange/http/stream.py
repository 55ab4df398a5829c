"""The `trade_updates` stream: what happens to orders, as it happens and never again."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from aiohttp import WSMsgType, web

from local.exchange.http.faults import Fault, FaultSwitch, Kind
from local.exchange.http.keys import ACCOUNTS, FAULTS, LISTENERS, member_of
from local.exchange.http.render import number, order_body, utc
from local.exchange.trading import ledger
from local.exchange.trading.accounts import Accounts, Member
from local.exchange.trading.ledger import Update
from local.exchange.trading.numbers import plain

PATH = "/stream"
STREAM = "trade_updates"
# A client that has not read this many updates is cut off; it reconciles when it is back.
BACKLOG_MAX = 10_000
# Faults of an update on its way; a mute stream and a drop differ in how long they last.
DELIVERY = (
    Kind.STREAM_MUTE,
    Kind.STREAM_DROP,
    Kind.STREAM_DUPLICATE,
    Kind.STREAM_REORDER,
    Kind.STREAM_DELAY,
    Kind.STREAM_DISCONNECT,
    Kind.STREAM_UNKNOWN_STATUS,
)


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

    async def close(self, code: int = 1001, reason: bytes = b"going away") -> None:
        await self._socket.close(code=code, message=reason)


class Listeners:
    """Everyone who listens to the orders of one of the accounts."""

    def __init__(self, faults: FaultSwitch) -> None:
        self._faults = faults
        self._joined: dict[Listener, tuple[str, asyncio.Task[None]]] = {}
        self._overtaken: dict[str, list[bytes]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._joined)

    def join(self, listener: Listener, key_id: str) -> None:
        self._joined[listener] = (key_id, asyncio.create_task(listener.send()))

    def leave(self, listener: Listener) -> None:
        _, sender = self._joined.pop(listener, ("", None))
        if sender is not None:
            sender.cancel()

    def watch(self, member: Member) -> None:
        """Pass on what happens in an account to those who listen to it."""
        tell, has_any = partial(self.tell, member.key_id), partial(self._has_any, member.key_id)
        member.exchange.ledger.listeners.append(ledger.Listener(tell, has_any))

    def tell(self, key_id: str, update: Update) -> None:
        """Pass an update on; the ledger calls this after the update was written."""
        body = update_body(update)
        fault = self._faults.take(*DELIVERY, symbol=update.order.symbol) if self._faults.armed else None
        if fault is None:
            self._send(key_id, _message(STREAM, body))
        else:
            self._misdeliver(key_id, body, fault)

    def _has_any(self, key_id: str) -> bool:
        return any(key_id == listening for listening, _ in self._joined.values())

    def _misdeliver(self, key_id: str, body: dict[str, Any], fault: Fault) -> None:
        if fault.kind is Kind.STREAM_UNKNOWN_STATUS:
            body["order"]["status"] = fault.options.get("value", "accepted_for_teleport")
        message = _message(STREAM, body)
        match fault.kind:
            case Kind.STREAM_DUPLICATE:
                self._send(key_id, message)
                self._send(key_id, message)
            case Kind.STREAM_REORDER:
                self._overtaken.setdefault(key_id, []).append(message)
            case Kind.STREAM_DELAY:
                asyncio.get_running_loop().call_later(fault.delay_ms / 1000, self._send, key_id, message)
            case Kind.STREAM_DISCONNECT:
                self._disconnect(key_id)
            case Kind.STREAM_UNKNOWN_STATUS:
                self._send(key_id, message)

    def _send(self, key_id: str, message: bytes) -> None:
        """Send a message, and after it those that it has overtaken."""
        for each in (message, *self._overtaken.pop(key_id, [])):
            for listener, (listening, _) in self._joined.items():
                if listening == key_id:
                    listener.tell(each)

    def _disconnect(self, key_id: str) -> None:
        """Close the connections of an account; what happens until they are back is lost to them."""
        for listener, (listening, _) in list(self._joined.items()):
            if listening == key_id:
                self.leave(listener)
                task = asyncio.create_task(listener.close(1011, b"internal error"))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self, _: web.Application) -> None:
        """Tell every listener that the exchange goes away."""
        for listener in list(self._joined):
            await listener.close()


async def stream(request: web.Request) -> web.StreamResponse:
    """Serve one client: authenticate, then listen; anything else ends the connection."""
    faults, listeners = request.app[FAULTS], request.app[LISTENERS]
    if len(listeners) and faults.take(Kind.STREAM_REFUSE_SECOND):
        return web.Response(status=429, text="connection limit exceeded")
    socket = web.WebSocketResponse(heartbeat=10.0)
    await socket.prepare(request)
    listener = Listener(socket)
    member: Member | None = None
    try:
        async for message in socket:
            action, data = _read(message.type, message.data)
            if action == "authenticate":
                member = None if faults.take(Kind.STREAM_AUTH_FAILURE) else _authorized(data, request.app[ACCOUNTS])
                await socket.send_bytes(_message("authorization", _verdict(member is not None)))
            if member is None:
                break
            if action == "listen":
                await socket.send_bytes(_message("listening", {"streams": [STREAM]}))
                listeners.leave(listener)
                listeners.join(listener, member.key_id)
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


def _authorized(data: dict[str, Any], accounts: Accounts) -> Member | None:
    return member_of(accounts, str(data.get("key_id", "")), str(data.get("secret_key", "")))


def _verdict(authorized: bool) -> dict[str, str]:
    return {"status": "authorized" if authorized else "unauthorized", "action": "authenticate"}


def _message(name: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"stream": name, "data": data}, separators=(",", ":")).encode()
