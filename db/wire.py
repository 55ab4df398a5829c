"""HTTP on the shortest way: h11, which httpx speaks it with too and which is as strict, and a socket that is kept.

A call through httpx and httpcore, or requests and urllib3, spends most of its processor time between their layers. What
goes wrong is raised as httpx raises it.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import h11
import httpx
from urllib3.util import wait_for_read

PORTS: Final = {"http": 80, "https": 443}
IDLE_MAX_S: Final = 5.0  # as in httpx: what lies between may forget an idle connection and tell nobody
HEADERS_BYTES_MAX: Final = 100 * 1024  # as in httpx
PIECE_BYTES: Final = 64 * 1024

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    reason: bytes
    headers: Headers
    body: bytes  # as it came: it may be compressed

    @property
    def is_success(self) -> bool:
        return 200 <= self.status <= 299

    def content(self) -> bytes:
        """Return the body, decompressed.

        Raises
        ------
        httpx.DecodingError when it is not what its headers call it
        """
        is_encoded = any(name.lower() == b"content-encoding" for name, _ in self.headers)
        return self.response().content if is_encoded else self.body

    def response(self) -> httpx.Response:
        """Return the answer as httpx gives it."""
        reason = {"reason_phrase": self.reason}
        return httpx.Response(self.status, headers=list(self.headers), content=self.body, extensions=reason)


class Wire:
    """Asks one server, over connections that are kept.

    Any number of threads may do so at once: each has a connection for itself meanwhile.
    """

    def __init__(
        self, url: httpx.URL, tls: ssl.SSLContext | None, *, connect_s: float | None, read_s: float | None
    ) -> None:
        self._address = (url.raw_host.decode("ascii"), url.port or PORTS[url.scheme])
        self._tls = tls if url.scheme == "https" else None
        self._connect_s = connect_s
        self._read_s = read_s
        self._idle: deque[_Connection] = deque()  # the longest idle first
        self._lock = Lock()

    def post(self, target: bytes, headers: Headers, body: bytes) -> Answer:
        """Post once, whatever comes of it, and return the answer; redirects are not followed.

        Raises
        ------
        httpx.TransportError when there is no complete answer
        """
        told = [*headers, (b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
        try:
            request = h11.Request(method="POST", target=target, headers=told)
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        connection = self._idle_one() or _Connection(self._connected())
        try:
            answer = connection.ask(request, body)
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return answer

    def _idle_one(self) -> "_Connection | None":
        """Return the connection that was used last, if it still stands; so the others grow old, and go."""
        too_old_s = time.monotonic() - IDLE_MAX_S
        with self._lock:
            while self._idle and self._idle[0].idle_since_s < too_old_s:
                self._idle.popleft().close()
            while self._idle:
                if (connection := self._idle.pop()).stands():
                    return connection
                connection.close()
        return None

    def _give_back(self, connection: "_Connection") -> None:
        """Keep a connection for the next call, unless something of the last one may still be on its way."""
        if not connection.is_free():
            connection.close()
            return
        connection.idle_since_s = time.monotonic()
        with self._lock:
            self._idle.append(connection)

    def _connected(self) -> socket.socket:
        plain = None
        try:
            plain = socket.create_connection(self._address, self._connect_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected = self._tls.wrap_socket(plain, server_hostname=self._address[0]) if self._tls else plain
        except OSError as error:
            if plain is not None:
                plain.close()
            kind = httpx.ConnectTimeout if isinstance(error, TimeoutError) else httpx.ConnectError
            raise kind(str(error)) from error
        connected.settimeout(self._read_s)  # a write may take as long
        return connected


class _Connection:
    """One connection: it asks, and once the answer is there it may be asked again."""

    def __init__(self, connected: socket.socket) -> None:
        self.idle_since_s = 0.0
        self._socket = connected
        self._http = h11.Connection(h11.CLIENT, HEADERS_BYTES_MAX)

    def __del__(self) -> None:
        self.close()  # its client is gone

    def close(self) -> None:
        self._socket.close()

    def stands(self) -> bool:
        """Tell whether the other side has left it open: while idle there is nothing to read but its end."""
        return not wait_for_read(self._socket, timeout=0)

    def is_free(self) -> bool:
        """Tell whether it may be asked again, and make it ready."""
        http = self._http
        is_free = http.our_state is h11.DONE and http.their_state is h11.DONE and not http.trailing_data[0]
        if is_free:
            http.start_next_cycle()
        return is_free

    def ask(self, request: h11.Request, body: bytes) -> Answer:
        events = (request, h11.Data(body), h11.EndOfMessage())
        self._write(b"".join(self._http.send(event) or b"" for event in events))
        try:
            return self._answer()
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    def _write(self, whole: bytes) -> None:
        """Write head and body at once: one packet wakes the other side once."""
        rest = memoryview(whole)
        try:
            while rest:
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error)) from error
        except OSError:
            pass  # the other side has hung up, and may have answered before that

    def _answer(self) -> Answer:
        head: h11.Response | None = None
        body: list[bytes] = []
        while not isinstance(event := self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body.append(event.data)
        assert head is not None, "a body has a head"
        return Answer(head.status_code, head.reason, head.headers.raw_items(), b"".join(body))

    def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(self._socket.recv(PIECE_BYTES))
        return event
