"""A line between two processes that a test can cut, swallow from, or hold at a chosen moment of a chosen request."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from local.ports import LOOPBACK

CHUNK = 1 << 16
NEVER_S = 180.0
METHODS = (b"GET ", b"POST ", b"PATCH ", b"DELETE ")
BUSY = "503 Service Unavailable", "{}"


class Moment(StrEnum):
    """When a request is held."""

    BEFORE = "before"  # the other side has seen nothing of it
    HALF = "half"  # the other side has its head, and no body
    AFTER = "after"  # the other side has answered, and the asker does not know it


@dataclass
class Trap:
    """Holds the first request whose head contains `text`, and whose answer contains `answer`; `sprung` tells it."""

    text: bytes
    moment: Moment
    answer: bytes = b""
    sprung: threading.Event = field(default_factory=threading.Event)
    _free: threading.Event = field(default_factory=threading.Event)
    _taken: bool = False
    _dropped: bool = False

    def let_go(self, *, drop: bool) -> None:
        """Let the held request or answer pass, or lose it with its connection."""
        self._dropped = drop
        self._free.set()

    def wants(self, chunk: bytes) -> bool:
        """Tell whether this is a request to hold."""
        return not self._taken and self.text in chunk

    def take(self, answer: bytes = b"") -> bool:
        """Tell whether this is the one; only the first is."""
        if self._taken or self.answer not in answer:
            return False
        self._taken = True
        return True

    def hold(self) -> bool:
        """Wait to be let go; tell whether the held bytes may pass."""
        self.sprung.set()
        return self._free.wait(NEVER_S) and not self._dropped


@dataclass
class Noise:
    """Spoils requests at random: `lost` after the other side has acted, `refused` before or `told_off` after that.

    The last two answer `answer`, a status line and a body.
    """

    kind: str
    probability: float
    rng: random.Random
    text: bytes = b"POST "
    answer: tuple[str, str] = BUSY
    hits: int = 0

    @property
    def bytes(self) -> bytes:
        status, body = self.answer
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Connection: close\r\n\r\n{body}".encode()

    def strikes(self, chunk: bytes) -> bool:
        if self.text not in chunk or self.rng.random() >= self.probability:
            return False
        self.hits += 1
        return True


class Line:
    """Carries bytes to `url`; `address` is what the asking process is given instead."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or LOOPBACK, parts.port or 80)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.address = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self._wires: set[_Wire] = set()
        self._lock = threading.Lock()
        self.trap: Trap | None = None
        self.noise: Noise | None = None
        self.is_cut = False
        self.swallows = False
        self.posts: list[float] = []  # when each order was passed on, in seconds since 1970
        self.lost = 0  # connections and bytes' chunks that did not get through
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, text: str, moment: Moment, answer: str = "") -> Trap:
        """Hold the next request with `text` in its head; after it only if `answer` is in what comes back."""
        self.trap = Trap(text.encode(), moment, answer.encode())
        return self.trap

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self.is_cut = True
        self._drop_all()

    def swallow(self) -> None:
        """Take every byte and deliver none: nobody is told that nothing arrives."""
        self.swallows = True

    def heal(self) -> None:
        """Be an ordinary line again; what was swallowed stays lost."""
        was_off, self.is_cut, self.swallows, self.noise = self.is_cut or self.swallows, False, False, None
        if was_off:
            self._drop_all()

    def close(self) -> None:
        self.is_cut = True
        if self.trap is not None:
            self.trap.let_go(drop=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop_all()

    def forget(self, wire: _Wire) -> None:
        with self._lock:
            self._wires.discard(wire)

    def _drop_all(self) -> None:
        with self._lock:
            wires, self._wires = self._wires, set()
        for wire in wires:
            wire.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                self.lost += 1
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            wire = _Wire(self, client, server)
            with self._lock:
                self._wires.add(wire)
            wire.start()


class _Wire:
    """One connection through the line."""

    def __init__(self, line: Line, client: socket.socket, server: socket.socket) -> None:
        self._line, self._client, self._server = line, client, server
        self._held: Trap | None = None  # the trap that waits for the answer to come
        self._half: Trap | None = None  # the trap that waits for the body to come
        self._spoilt: Noise | None = None

    def start(self) -> None:
        for pump in (self._ask, self._answer):
            threading.Thread(target=self._guarded, args=(pump,), daemon=True).start()

    def close(self) -> None:
        self._line.forget(self)
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _guarded(self, pump: Callable[[], None]) -> None:
        with suppress(OSError):
            pump()
        self.close()

    def _ask(self) -> None:
        while chunk := self._client.recv(CHUNK):
            if self._line.swallows:
                self._line.lost += 1
                continue
            if self._half is not None:
                trap, self._half = self._half, None
                if not trap.hold():
                    return
            if chunk.startswith(METHODS):
                self._held = None
            trap = self._line.trap
            if trap is not None and trap.wants(chunk):
                rest = self._spring(trap, chunk)
                if rest is None:
                    return
                chunk = rest
            noise = self._line.noise
            if noise is not None and noise.strikes(chunk):
                if noise.kind == "refused":
                    self._client.sendall(noise.bytes)
                    return
                self._spoilt = noise
            if chunk.startswith(b"POST /v2/orders"):
                self._line.posts.append(time.time())
            self._server.sendall(chunk)

    def _spring(self, trap: Trap, chunk: bytes) -> bytes | None:
        """Hold a request as its trap says; return what is left to be sent, None when it is lost."""
        if trap.moment is Moment.AFTER:
            self._held = trap
            return chunk
        if not trap.take():
            return chunk
        if trap.moment is Moment.BEFORE:
            return chunk if trap.hold() else None
        head, mark, body = chunk.partition(b"\r\n\r\n")
        if not body:
            self._half = trap
            return chunk
        self._server.sendall(head + mark)
        return body if trap.hold() else None

    def _answer(self) -> None:
        while chunk := self._server.recv(CHUNK):
            if self._held is not None and self._held.take(chunk):
                trap, self._held = self._held, None
                if not trap.hold():
                    return
            if self._line.swallows:
                self._line.lost += 1
                continue
            if self._spoilt is not None:
                if self._spoilt.kind == "told_off":
                    self._client.sendall(self._spoilt.bytes)
                return
            self._client.sendall(chunk)
