"""A stand-in for PostgREST on its socket, that says what a test wants, byte by byte, and a caller that hears it."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPResponse
from itertools import count
from pathlib import Path
from types import TracebackType

WITHIN_S = 10


def ok(body: bytes = b"{}", *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer with its length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One connection, as whoever listens sees it."""

    def __init__(self, number: int, connected: socket.socket) -> None:
        connected.settimeout(WITHIN_S)
        self.number = number
        self.socket = connected

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def hear(self, size: int = 1 << 20) -> bytes:
        """Return what one read gives: nothing at the end."""
        return self.socket.recv(size)

    def hang_up(self) -> None:
        self.socket.close()


class RestStandIn:
    """Hears calls and lets `answer` say something to each; `heard` holds connection and call."""

    def __init__(self, path: Path) -> None:
        self.answer: Callable[[Connection, bytes], None] = lambda connection, _call: connection.say(ok())
        self.heard: list[tuple[int, bytes]] = []
        self.reads_all = True  # of a call, before it answers
        self._path = path
        self._numbers = count(1)
        self._open: set[socket.socket] = set()
        self.listen()

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def go_away(self) -> None:
        """Stop as a killed PostgREST does: every connection ends."""
        self._path.unlink()
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connected, _ = listener.accept()
                self._open.add(connected)
                connection = Connection(next(self._numbers), connected)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with suppress(OSError):
            while call := connection.hear(1 << 20 if self.reads_all else 2000):
                while self.reads_all and len(call.partition(b"\r\n\r\n")[2]) < _length(call):
                    call += connection.hear()
                self.heard.append((connection.number, call))
                self.answer(connection, call)
        self._open.discard(connection.socket)
        connection.hang_up()


def _length(call: bytes) -> int:
    _, _, said = call.partition(b"\r\n\r\n")[0].lower().partition(b"content-length:")
    return int(said.partition(b"\r\n")[0] or b"0")


class Caller:
    """A connection to the gateway."""

    def __init__(self, port: int, key: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._key = key

    def __enter__(self) -> "Caller":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def head(self, line: str, *headers: str) -> bytes:
        lines = [f"{line} HTTP/1.1", "Host: here", f"apikey: {self._key}", *headers]
        return "\r\n".join([*lines, "", ""]).encode()

    def call(self, line: str, *headers: str, body: bytes | None = None) -> HTTPResponse:
        """Send a call in one piece and return its answer, the body of which is still to be read."""
        length = [] if body is None else [f"Content-Length: {len(body)}"]
        self.socket.sendall(self.head(line, *headers, *length) + (body or b""))
        return self.answer(method=line.partition(" ")[0])

    def answer(self, method: str = "GET") -> HTTPResponse:
        answer = HTTPResponse(self.socket, method=method)
        answer.begin()
        return answer


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
