"""The connections to PostgREST that plain calls go over."""

import asyncio
import socket
from pathlib import Path

from aiohttp.http import HttpProcessingError

from local.auth.answers import HEAD_MAX, End, is_whole, without_connection
from local.auth.calls import SAFE, Call

LINES_MAX = 100
IDLE_MAX_S = 15  # PostgREST hangs up after 30
SILENCE_MAX_S = 60
PIECE = 64 * 1024
UNREAD_MAX = 8 * 1024  # PostgREST reads so much of what it does not want


class Lines:
    """The lines: opened when none is free, used again, closed when idle for long."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._loop = asyncio.get_running_loop()
        self._free: list[Line] = []
        self._all: set[Line] = set()
        self._tending = self._loop.call_later(1, self._tend)

    def carry(self, call: Call) -> bool:
        """Send a call over a line; False when there are as many as there may be, and all are busy."""
        while self._free:
            if self._free.pop().send(call):
                return True
        if len(self._all) >= LINES_MAX:
            return False
        try:
            line = Line(self, self._path)
        except OSError:
            self._loop.call_soon(call.recipient.fail)
            return True
        self._all.add(line)
        if not line.send(call):
            self._loop.call_soon(call.recipient.fail)
        return True

    def freed(self, line: "Line") -> None:
        """Give a line the next call that comes."""
        self._free.append(line)

    def left(self, line: "Line") -> None:
        """Forget a line that was closed."""
        self._all.discard(line)
        if line in self._free:
            self._free.remove(line)

    def close(self) -> None:
        """Close them all."""
        self._tending.cancel()
        for line in list(self._all):
            line.close()

    def _tend(self) -> None:
        now_s = self._loop.time()
        for line in list(self._all):
            line.tend(now_s)
        self._tending = self._loop.call_later(1, self._tend)


class Line:
    """One connection, with at most one call on it.

    The bytes of an answer go back as they came. It is a plain socket, since the kernel alone can tell
    that PostgREST has none of a call: by not taking it.
    """

    def __init__(self, lines: Lines, path: str) -> None:
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        try:
            self._socket.connect(path)  # succeeds or fails at once, as is the way of these
        except OSError:
            self._socket.close()
            raise
        self._call: Call | None = None
        self._unsent = memoryview(b"")
        self._head = b""
        self._end: End | None = None
        self._is_open = True
        self._is_paused = False
        self.resume()

    def send(self, call: Call) -> bool:
        """Send a call; False when PostgREST has hung up, and has none of it."""
        try:
            sent = self._socket.send(call.request)
        except OSError:
            self.close()
            return False
        call.line, self._call = self, call
        self._heard_s = self._loop.time()
        if sent < len(call.request):
            self._unsent = memoryview(call.request)[sent:]
            self._loop.add_writer(self._socket, self._send_rest)
        return True

    def pause(self) -> None:
        """Stop reading: the caller does not keep up."""
        self._is_paused = True
        if self._is_open:
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        """Go on reading."""
        self._is_paused = False
        self._heard_s = self._loop.time()
        if self._is_open:
            self._loop.add_reader(self._socket, self._read)

    def tend(self, now_s: float) -> None:
        """Close what has been idle, or silent, for too long."""
        passed_s = now_s - self._heard_s
        if self._call is None and passed_s > IDLE_MAX_S:
            self.close()
        elif self._call is not None and passed_s > SILENCE_MAX_S and not self._is_paused:
            self._call.may_repeat = False
            self._lose()

    def close(self) -> None:
        """Hang up."""
        self._is_open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._lines.left(self)

    def _send_rest(self) -> None:
        self._heard_s = self._loop.time()
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._loop.remove_writer(self._socket)  # it has hung up; what it said before is still to be read
            return
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        call = self._call
        self._heard_s = self._loop.time()
        if call is None or not data:
            self._lose()
        elif self._end is None and not self._head and is_whole(data, bodiless=call.method == b"HEAD"):
            call.recipient.pass_back(data)
            self._finish(call, hangs_up=_is_left_unread(call, data))
        else:
            self._follow(call, data)

    def _follow(self, call: Call, data: bytes) -> None:
        """Pass back a piece of an answer that comes in several."""
        passed = data
        if self._end is None:
            data, self._head = self._head + data, b""
            head, blank, body = data.partition(b"\r\n\r\n")
            if not blank and len(data) <= HEAD_MAX:
                self._head = data
                return
            passed = without_connection(head) + blank + body
        end = self._end or End(bodiless=call.method == b"HEAD")
        try:
            is_end = end.is_in(data)
        except HttpProcessingError:
            self._lose()
            return
        if self._end is None:
            end.hangs_up |= _is_left_unread(call, data)
            self._end = end
        call.recipient.pass_back(passed)
        if is_end:
            self._finish(call, hangs_up=end.hangs_up)
        elif call.recipient.is_gone:
            self.close()

    def _finish(self, call: Call, *, hangs_up: bool) -> None:
        """Make the line ready for another call, unless PostgREST is about to hang up."""
        self._call = self._end = None
        if hangs_up or self._unsent:
            self.close()
        else:
            self._lines.freed(self)
            if self._is_paused:
                self.resume()
        call.recipient.finish()

    def _lose(self) -> None:
        """Hang up, and say what became of the call."""
        self.close()
        call, self._call = self._call, None
        if call is None:
            return
        if self._end is not None:
            call.recipient.break_off()
        elif call.method in SAFE and call.may_repeat:
            call.may_repeat = False
            if not self._lines.carry(call):
                call.recipient.fail()
        else:
            call.recipient.fail()


def _is_left_unread(call: Call, answer: bytes) -> bool:
    """Return whether PostgREST may have refused a call before it read all of it: it then hangs up."""
    return len(call.request) > UNREAD_MAX and not answer.startswith(b"HTTP/1.1 2")
