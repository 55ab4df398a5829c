"""Plain calls, told by one look at their bytes: nearly all of what comes in.

A call is plain when its head came in one piece, says nothing of how it is carried but a length, and
says nothing twice. Nothing else is judged here: what is not plain, right or wrong, is aiohttp's to read.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from local.auth.roles import Roles

BODY_MAX = 1024 * 1024  # held in memory until it is there, for callers with a key
HEADS_KEPT = 512
KEPT_MAX = 4 * 1024

# Within aiohttp's limits, so that nothing passes here that would be refused there.
_HEAD = re.compile(
    rb"(GET|HEAD|POST|PATCH|PUT|DELETE|OPTIONS) /rest/v1(/[!-\"$-~]{0,8000}) HTTP/1\.1"
    rb"((?:\r\n[-!#$%&'*+.^_`|~0-9A-Za-z]{1,100}:[\t -~\x80-\xff]{0,8000}){1,100})"
)
_LENGTH = re.compile(rb"[0-9]{1,7}")
_LENGTH_SAID = b"\r\nContent-Length: "
_NOT_PLAIN = frozenset(
    {b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"te", b"trailer", b"proxy-authenticate",
     b"proxy-authorization", b"sec-websocket-key1"}
)  # fmt: skip


class Plain(NamedTuple):
    """A plain call: its head as PostgREST gets it, and where its body is in what was received."""

    method: bytes
    head: bytes
    start: int
    end: int


class PlainCalls:
    """Reads calls. What a program says twice, but for the length at the end, it reads once."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self._known = lru_cache(HEADS_KEPT)(self._read)

    def read(self, received: bytes) -> Plain | None:
        """Return the call that starts what was received, its body perhaps still to come; None when it is not plain."""
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head, _, length = received[:end].rpartition(_LENGTH_SAID)
        if not _LENGTH.fullmatch(length):
            head, length = received[:end], b""
        known = self._known(head) if end <= KEPT_MAX else self._read(head)
        if known is None or (length and known.length):
            return None
        length = length or known.length
        body_length = int(length or b"0")
        if body_length > BODY_MAX:
            return None
        said = _LENGTH_SAID + length if length else b""
        return Plain(known.method, known.head + said + b"\r\n\r\n", end + 4, end + 4 + body_length)

    def _read(self, head: bytes) -> "_Head | None":
        found = _HEAD.fullmatch(head)
        if found is None:
            return None
        method, target, block = found.groups()
        lines = block.split(b"\r\n")[1:]
        headers = {line[: line.index(b":")].lower(): line for line in lines}
        if len(headers) < len(lines) or b"host" not in headers or not _NOT_PLAIN.isdisjoint(headers):
            return None
        length = headers.pop(b"content-length", None)
        if length is not None and not _LENGTH.fullmatch(_value(length)):
            return None
        token = self._token(headers)
        if token is None or _value(headers.pop(b"connection", b"")).lower() not in (b"", b"keep-alive"):
            return None
        headers.pop(b"keep-alive", None)
        headers[b"host"] = b"Host: postgrest"
        start = b"%b %b HTTP/1.1" % (method, target)
        passed_on = b"\r\n".join([start, *headers.values(), b"Authorization: Bearer " + token])
        return _Head(method, passed_on, b"" if length is None else _value(length))

    def _token(self, headers: dict[bytes, bytes]) -> bytes | None:
        """Take out of the headers what shows who is calling, and exchange it."""
        key = headers.pop(b"apikey", None)
        token = self._roles.token(
            key=None if key is None else _text(key),
            authorization=_text(headers.pop(b"authorization", b"")),
        )
        return None if token is None else token.encode(errors="surrogateescape")


class _Head(NamedTuple):
    """A head that was read: without its length, and without the blank line that ends it."""

    method: bytes
    head: bytes
    length: bytes


def _value(line: bytes) -> bytes:
    return line[line.find(b":") + 1 :].strip(b" \t")


def _text(line: bytes) -> str:
    return _value(line).decode(errors="surrogateescape")  # as aiohttp does
