"""The door that callers come in by: plain calls go straight to PostgREST, everything else goes to aiohttp."""

import asyncio
import json
import socket
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web

from local.auth.calls import Call
from local.auth.lines import Lines
from local.auth.plain import Plain, PlainCalls
from local.auth.proxy import UNREACHABLE

IDLE_MAX_S = 75

_BODY = json.dumps(UNREACHABLE).encode()
_HEAD = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_BODY)
)


@dataclass(frozen=True, slots=True)
class House:
    """What lies behind every door."""

    server: web.Server
    calls: PlainCalls
    lines: Lines
    doors: "set[Door]" = field(default_factory=set)


class Door(asyncio.Protocol):
    """One caller's connection.

    It takes one call at a time. The first that is not plain goes to aiohttp, and the connection ends with its answer.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._received = b""
        self._plain: Plain | None = None
        self._call: Call | None = None
        self._is_held = False  # no more is read from the caller
        self._is_behind = False  # the caller does not read what it gets
        self._is_last = False
        self._since_s = self._loop.time()

    @property
    def is_gone(self) -> bool:
        """Whether the caller has hung up."""
        return self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let a caller in."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._house.doors.add(self)

    def data_received(self, data: bytes) -> None:
        """Take what the caller sends; while a call is under way, no more than that."""
        self._received += data
        self._since_s = self._loop.time()
        if self._call is None and not self._is_behind:
            self._proceed()
        else:
            self._is_held = True
            self._transport.pause_reading()

    def pass_back(self, data: bytes) -> None:
        """Send a piece of the answer."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """Be ready for the next call."""
        self._call = None
        self._since_s = self._loop.time()
        if self._is_last:
            self._transport.close()
        else:
            self._go_on()

    def fail(self) -> None:
        """Say that there is no answer."""
        assert self._call is not None
        self.pass_back(_HEAD if self._call.method == b"HEAD" else _HEAD + _BODY)
        self.finish()

    def break_off(self) -> None:
        """Hang up: so the caller sees that the answer is not whole."""
        self._call = None
        self._transport.close()

    def pause_writing(self) -> None:
        """Let PostgREST wait for the caller."""
        self._is_behind = True
        if self._call is not None and self._call.line is not None:
            self._call.line.pause()

    def resume_writing(self) -> None:
        """Go on, now that the caller has caught up."""
        self._is_behind = False
        if self._call is None:
            self._go_on()
        elif self._call.line is not None:
            self._call.line.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the call go on to its end without the caller."""
        self._house.doors.discard(self)
        if self._is_behind and self._call is not None and self._call.line is not None:
            self._call.line.resume()

    def tend(self, now_s: float) -> None:
        """Hang up on a caller that has been silent for long."""
        if self._call is None and now_s - self._since_s > IDLE_MAX_S:
            self._transport.close()

    def stop(self) -> None:
        """Take no more calls."""
        self._is_last = True
        if self._call is None:
            self._transport.close()

    def _go_on(self) -> None:
        """Turn to what the caller has sent meanwhile."""
        if self._is_behind or self._transport.is_closing():
            return
        if self._is_held:
            self._is_held = False
            self._transport.resume_reading()
        if self._received:
            self._proceed()

    def _proceed(self) -> None:
        plain = self._plain or self._house.calls.read(self._received)
        self._plain = plain
        if plain is None:
            self._hand_over()
        elif len(self._received) >= plain.end:
            self._ask(plain)

    def _ask(self, plain: Plain) -> None:
        call = self._call = Call(plain.method, plain.head + self._received[plain.start : plain.end], self)
        if not self._house.lines.carry(call):
            self._hand_over()
            return
        self._received = self._received[plain.end :]
        self._plain = None

    def _hand_over(self) -> None:
        self._house.doors.discard(self)
        handler = self._house.server()
        handler.connection_made(self._transport)
        self._transport.set_protocol(handler)
        handler.data_received(self._received)
