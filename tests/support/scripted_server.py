"""A server that answers what it is told to, to the byte, and remembers what it was asked."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Literal

from local.ports import LOOPBACK

RESET = struct.pack("ii", 1, 0)  # linger for no time: what is closed is reset


@dataclass(frozen=True)
class Reply:
    """What is said to a request, when, and what becomes of the connection."""

    told: bytes
    then: Literal["stay", "hang up", "reset"] = "stay"
    after_s: float = 0


def ok(body: bytes, *headers: str, status: str = "200 OK") -> Reply:
    """Return an ordinary answer with its length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return Reply("\r\n".join([*lines, "", ""]).encode() + body)


class ScriptedServer:
    """Answers each request with what `reply` says to it; `asked` holds the connection's number and the request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self._tls = tls
        self._numbers = count(1)
        self._open: set[socket.socket] = set()
        self.url = f"http{'s' if tls else ''}://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.asked: list[tuple[int, bytes]] = []
        self.reply: Callable[[bytes], Reply] = lambda _request: ok(b"{}")
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def held(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def hang_up(self) -> None:
        """End every connection, as servers do with idle ones."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection, next(self._numbers)), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            connection = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            self._open.add(connection)
            while request := _request(connection):
                self.asked.append((number, request))
                reply = self.reply(request)
                time.sleep(reply.after_s)
                connection.sendall(reply.told)
                if reply.then == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                if reply.then != "stay":
                    break
        self._open.discard(connection)
        connection.close()


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def _request(connection: socket.socket) -> bytes:
    """Return the next request, or nothing at its end."""
    got = b""
    while b"\r\n\r\n" not in got or len(body_of(got)) < _length(got):
        piece = connection.recv(1 << 16)
        if not piece:
            return b""
        got += piece
    return got


def _length(request: bytes) -> int:
    return int(request.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
