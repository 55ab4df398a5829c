"""Plain calls: what is taken for one is one, to the byte, and reaches PostgREST with its caller's role."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp.http import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from local.auth.answers import Unheld
from local.auth.plain import BODY_MAX, HEADS_KEPT, KEPT_MAX, PlainCalls
from local.auth.roles import Roles
from local.auth.settings import Settings
from local.auth.tokens import AccessTokens

SETTINGS = Settings(
    listen_fd=0,
    url="http://here",
    rest_socket=Path("rest.sock"),
    database_url="",
    publishable_key="sb_publishable_x",
    secret_key="sb_secret_x",
    jwt_secret="a secret of this installation, long enough for HS256",
    refresh_secret="another",
)
ACCESS = AccessTokens(SETTINGS.jwt_secret, issuer="here")
OF_THE_ENGINE = ACCESS.for_role("service_role")


def calls() -> PlainCalls:
    return PlainCalls(Roles(SETTINGS, ACCESS))


def call(*headers: str, line: str = "GET /rest/v1/members HTTP/1.1", key: str = "sb_secret_x", body: str = "") -> bytes:
    lines = [line, "Host: here", f"apikey: {key}", *headers]
    return "\r\n".join([*lines, "", body]).encode("latin-1")


class TestPlain:
    def test_a_call_reaches_postgrest_as_it_was_sent_but_for_what_is_ours(self) -> None:
        received = call(
            "Authorization: Bearer sb_secret_x",
            "Connection: keep-alive",
            "Keep-Alive: timeout=5",
            "Prefer: return=minimal",
            "Content-Length: 4",
            line="POST /rest/v1/orders?select=%22a%22&or=(a.eq.1,b.is.null) HTTP/1.1",
            body="true",
        )

        plain = calls().read(received)

        assert plain is not None
        assert received[plain.start : plain.end] == b"true"
        assert plain.head.decode().split("\r\n") == [
            "POST /orders?select=%22a%22&or=(a.eq.1,b.is.null) HTTP/1.1",
            "Host: postgrest",
            "Prefer: return=minimal",
            f"Authorization: Bearer {OF_THE_ENGINE}",
            "Content-Length: 4",
            "",
            "",
        ]

    def test_a_callers_own_token_goes_on(self) -> None:
        plain = calls().read(call("authorization: bearer mine", key="sb_publishable_x"))

        assert plain is not None
        assert b"\r\nAuthorization: Bearer mine\r\n" in plain.head

    def test_a_body_that_is_still_to_come_is_counted_in(self) -> None:
        received = call("Content-Length: 10", body="12345")

        plain = calls().read(received)

        assert plain is not None
        assert plain.end == len(received) + 5

    def test_what_follows_a_call_is_left_for_later(self) -> None:
        received = call()

        plain = calls().read(received + call("Content-Length: 2", body="{}"))

        assert plain is not None
        assert plain.end == len(received)

    def test_a_length_is_found_wherever_it_is_said(self) -> None:
        for headers in (["Content-Length: 2", "Prefer: x"], ["Prefer: x", "content-length:2"], ["Content-Length: 2"]):
            plain = calls().read(call(*headers, body="{}"))

            assert plain is not None
            assert plain.end - plain.start == 2
            assert plain.head.lower().count(b"content-length:") == 1

    def test_the_same_words_with_another_length_are_another_call(self) -> None:
        same = calls()

        ends = [same.read(call(f"Content-Length: {length}", body="x" * length)) for length in (1, 2, 1)]

        assert [plain and plain.end - plain.start for plain in ends] == [1, 2, 1]

    def test_what_is_kept_of_heads_is_bounded(self) -> None:
        same = calls()
        for number in range(HEADS_KEPT + 10):
            same.read(call(f"Prefer: {number}"))
        same.read(call(f"Prefer: {'x' * KEPT_MAX}"))

        assert same._known.cache_info().currsize == HEADS_KEPT
        assert same._known.cache_info().misses == HEADS_KEPT + 10


@pytest.mark.parametrize(
    "received",
    [
        call(line="GET /auth/v1/user HTTP/1.1"),
        call(line="GET /rest/v1 HTTP/1.1"),
        call(line="GET /rest/v10/members HTTP/1.1"),
        call(line="GET /rest/v1/members HTTP/1.0"),
        call(line="GET http://here/rest/v1/members HTTP/1.1"),
        call(line="GET /rest/v1/m embers HTTP/1.1"),
        call(line="GET /rest/v1/members#part HTTP/1.1"),
        call(line="CONNECT /rest/v1/members HTTP/1.1"),
        call(line="get /rest/v1/members HTTP/1.1"),
        call(line=f"GET /rest/v1/{'x' * 9000} HTTP/1.1"),
        call(f"Prefer: {'x' * 9000}"),
        call(*(f"X-{number}: x" for number in range(200))),
        call(key="wrong"),
        call(key=""),
        call("apikey: sb_secret_x"),
        call("Host: there"),
        call("Content-Length: 2", "Content-Length: 2", body="{}"),
        call("Content-Length: 2", "content-length: 2", body="{}"),
        call("content-length: 2", "Prefer: x", "Content-Length: 2", body="{}"),
        call("Content-Length:", body=""),
        call("Content-Length: -2"),
        call("Content-Length: 2, 2", body="{}"),
        call("Content-Length: 0x2", body="{}"),
        call(f"Content-Length: {BODY_MAX + 1}"),
        call("Transfer-Encoding: chunked", body="0\r\n\r\n"),
        call("Content-Length: 2", "Transfer-Encoding: chunked", body="{}"),
        call("Content-Encoding: gzip", "Content-Length: 2", body="{}"),
        call("Expect: 100-continue", "Content-Length: 2"),
        call("Connection: close"),
        call("Connection: Upgrade", "Upgrade: websocket"),
        call("Connection: keep-alive, Prefer"),
        call("TE: trailers"),
        call("Prefer : x"),
        call("Prefer: a\r\n b"),
        call("Prefer: a\nX: b"),
        call("Prefer: a\0b"),
        call("Prefer"),
        call(": x"),
        call().replace(b"Host: here\r\n", b""),
        call()[:-2],
        b"\r\n\r\n",
        b"\x16\x03\x01",
    ],
)
def test_whatever_else_comes_is_left_to_aiohttp(received: bytes) -> None:
    assert calls().read(received) is None


# Pieces that a head may be put together from, right ones and wrong ones, so that most are nearly plain.
LINES = st.sampled_from(["POST /rest/v1/rpc/f", "GET /rest/v1/t?a=%20", "HEAD /rest/v1/", "GET /rest/v1/t?a=é"])
HEADERS = st.sampled_from(
    ["Connection: keep-alive", "Connection: close", "Content-Length: 2", "content-length:2", "Content-Length: 02",
     "Content-Length: 2 ", "Content-Length: +2", "Content-Length : 2", "Content-Length: 2\t", "Accept: */*",
     "Expect: x", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Prefer: é", "Prefer: \x7f", "Prefer:",
     "Prefer: a\tb", "X\x00: y", "X: y\x0b", " folded", "X: y\rZ: z", "X: y\nZ: z", "Content-Type: text/csv",
     "é: x", "a b: x"]
)  # fmt: skip


@given(LINES, st.lists(HEADERS, max_size=4), st.sampled_from(["", "{}", "{}GET / HTTP/1.1\r\n\r\n"]))
def test_what_is_plain_aiohttp_reads_the_same_way(line: str, headers: list[str], body: str) -> None:
    received = call(*headers, line=f"{line} HTTP/1.1", body=body)
    plain = calls().read(received)
    if plain is None or plain.end > len(received):
        return

    theirs = as_aiohttp_reads_it(received[: plain.end])
    ours = as_aiohttp_reads_it(plain.head + received[plain.start : plain.end])

    spent = {b"host": b"postgrest", b"authorization": b"Bearer " + OF_THE_ENGINE.encode()}
    passed_on = {name: value for name, value in theirs.headers.items() if name not in (b"apikey", b"connection")}
    assert ours == replace(theirs, path=theirs.path.removeprefix("/rest/v1"), headers=passed_on | spent)


@dataclass
class Read:
    """A request, as aiohttp understands it."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes


def as_aiohttp_reads_it(request: bytes) -> Read:
    async def read() -> Read:
        loop = asyncio.get_running_loop()
        parser = HttpRequestParser(Unheld(loop), loop, 1 << 16, auto_decompress=False)
        ((message, body),), _, rest = parser.feed_data(request)
        assert body.is_eof()
        assert not rest
        headers = {name.lower(): value for name, value in message.raw_headers}
        assert len(headers) == len(message.raw_headers)
        return Read(message.method, message.path, headers, body.read_nowait())

    return asyncio.run(read())
