"""Where an answer of PostgREST's ends: seen at one look when it came whole, followed by aiohttp's parser otherwise."""

import asyncio
import re

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import StreamReader

HEAD_MAX = 64 * 1024

_OF_THE_CONNECTION = rb"(?:connection|keep-alive|proxy-authenticate|proxy-authorization|te|trailer|upgrade):"
_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2}) [^\r\n]*\r\n"
    rb"(?:content-length: ([0-9]{1,15})\r\n"
    rb"|transfer-encoding: (chunked)\r\n"
    rb"|(?!content-length:|transfer-encoding:|" + _OF_THE_CONNECTION + rb")[^\r\n:]+:[^\r\n]*\r\n"
    rb")*\r\n",
    re.IGNORECASE,
)
_ABOUT_THE_CONNECTION = re.compile(rb"\r\n" + _OF_THE_CONNECTION + rb"[^\r\n]*", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_BODILESS = {b"204", b"304"}


def is_whole(answer: bytes, *, bodiless: bool) -> bool:
    """Return whether this is one answer from its first byte to its last, with no header of the connection's own."""
    found = _HEAD.match(answer)
    if found is None:
        return False
    status, length, chunked = found.groups()
    if bodiless or status in _BODILESS:
        return len(answer) == found.end()
    if chunked:
        return length is None and _chunks_end(answer, found.end())
    return length is not None and len(answer) == found.end() + int(length)


def without_connection(head: bytes) -> bytes:
    """Return an answer's head without what it says about the connection that it came over."""
    return _ABOUT_THE_CONNECTION.sub(b"", head)


class End:
    """Finds the end of an answer that comes in pieces, the first of which holds its head."""

    def __init__(self, *, bodiless: bool) -> None:
        loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(
            Unheld(loop),
            loop,
            HEAD_MAX,
            max_line_size=HEAD_MAX,
            max_field_size=HEAD_MAX,
            auto_decompress=False,
            response_with_body=not bodiless,
            read_until_eof=True,
        )
        self._body: StreamReader | None = None
        self.hangs_up = False

    def is_in(self, data: bytes) -> bool:
        """Read on; return whether the answer ends with this piece.

        Raises
        ------
        BadHttpMessage when it is not one answer
        """
        messages, _, _ = self._parser.feed_data(data)
        for message, body in messages:
            if self._body is not None or message.code < 200:
                raise BadHttpMessage("more than one answer, or none of its own")
            self._body, self.hangs_up = body, message.should_close
        if self._body is None:
            raise BadHttpMessage("a head without an end")
        self._body.read_nowait()  # it is passed on as it came
        return self._body.is_eof()


class Unheld(BaseProtocol):
    """The parser's way to slow a sender down, which here is the caller's matter."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Do nothing."""


def _chunks_end(answer: bytes, start: int) -> bool:
    """Return whether a body in chunks ends exactly where the answer does."""
    while found := _CHUNK.match(answer, start):
        size = int(found[1], 16)
        start = found.end() + size + 2
        if answer[start - 2 : start] != b"\r\n":
            return False
        if size == 0:
            return start == len(answer)
    return False
