"""Where an answer ends: neither look may take a part for the whole, or one caller's answer for another's."""

import asyncio

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from hypothesis import given
from hypothesis import strategies as st

from local.auth.answers import End, is_whole, without_connection

OK = "HTTP/1.1 200 OK\r\nServer: postgrest\r\n"


def answer(head: str, body: str = "") -> bytes:
    return f"{head}\r\n{body}".encode()


def ends(*pieces: bytes, bodiless: bool = False) -> list[bool]:
    """Return what the parser says after each piece."""

    async def follow() -> list[bool]:
        end = End(bodiless=bodiless)
        return [end.is_in(piece) for piece in pieces]

    return asyncio.run(follow())


@pytest.mark.parametrize(
    ("whole", "bodiless"),
    [
        (answer(OK + "Content-Length: 2\r\n", "[]"), False),
        (answer(OK + "content-length: 0\r\nContent-Range: 0-0/*\r\n"), False),
        (answer(OK + "Transfer-Encoding: chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"), False),
        (answer(OK + "Transfer-Encoding: chunked\r\n", "1\r\n[\r\n00A\r\n0123456789\r\n0\r\n\r\n"), False),
        (answer(OK + "Transfer-Encoding: chunked\r\n", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"), False),
        (answer("HTTP/1.1 204 No Content\r\nContent-Range: */*\r\n"), False),
        (answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n"), False),
        (answer(OK), True),
        (answer(OK + "Content-Length: 99\r\n"), True),
        (answer(OK + "Transfer-Encoding: chunked\r\n"), True),
        (answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n", "{}"), False),
    ],
)
def test_an_answer_is_whole_with_its_last_byte_and_not_before(whole: bytes, bodiless: bool) -> None:
    assert is_whole(whole, bodiless=bodiless)
    assert ends(whole, bodiless=bodiless) == [True]
    for length in range(len(whole)):
        assert not is_whole(whole[:length], bodiless=bodiless)
    assert not is_whole(whole + b"x", bodiless=bodiless)
    assert not is_whole(whole + whole, bodiless=bodiless)


@pytest.mark.parametrize(
    "other",
    [
        answer(OK, "until it hangs up"),
        answer(OK + "Content-Length: two\r\n", "{}"),
        answer(OK + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        answer(OK + "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        answer(OK + "Transfer-Encoding: chunked\r\n", "0\r\nTrailer: x\r\n\r\n"),
        answer(OK + "Transfer-Encoding: chunked\r\n", "+2\r\n[]\r\n0\r\n\r\n"),
        answer(OK + "Transfer-Encoding: chunked\r\n", "2;x=y\r\n[]\r\n0\r\n\r\n"),
        answer(OK + "Transfer-Encoding: chunked\r\n", "3\r\n[]\r\n0\r\n\r\n"),
        answer(OK + "Connection: close\r\nContent-Length: 0\r\n"),
        answer(OK + "Keep-Alive: timeout=5\r\nContent-Length: 0\r\n"),
        answer("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n"),
        answer("HTTP/1.1 100 Continue\r\n"),
        answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"),
        b"\r\n\r\n",
        b"",
    ],
)
def test_what_is_out_of_the_ordinary_is_not_judged_at_one_look(other: bytes) -> None:
    assert not is_whole(other, bodiless=False)


@given(st.binary(max_size=40), st.lists(st.integers(1, 12), max_size=6), st.data())
def test_an_answer_in_pieces_ends_with_its_last_byte(body: bytes, sizes: list[int], data: st.DataObject) -> None:
    head, framed = framings(body, sizes)[data.draw(st.integers(0, 1))]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(framed) - 1)), max_size=4)))
    pieces = [framed[a:b] for a, b in zip([0, *cuts], [*cuts, len(framed)], strict=True)]
    pieces = [piece for piece in pieces if piece] or [b""]

    assert ends(head + pieces[0], *pieces[1:]) == [False] * (len(pieces) - 1) + [True]
    assert is_whole(head + framed, bodiless=False)


def framings(body: bytes, sizes: list[int]) -> list[tuple[bytes, bytes]]:
    """Return a head and the body framed for it: by its length, and in chunks of these sizes."""
    chunks, rest = b"", body
    for size in [*sizes, len(body)]:
        piece, rest = rest[:size], rest[size:]
        chunks += b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
    return [
        (answer(OK + f"Content-Length: {len(body)}\r\n"), body),
        (answer(OK + "Transfer-Encoding: chunked\r\n"), chunks + b"0\r\n\r\n"),
    ]


def test_an_answer_without_a_length_ends_when_postgrest_hangs_up() -> None:
    assert ends(answer(OK, "some"), b"more") == [False, False]


@pytest.mark.parametrize(
    "wrong",
    [
        answer("HTTP/1.1 100 Continue\r\n"),
        answer(OK + "Content-Length: 0\r\n") + answer(OK + "Content-Length: 0\r\n"),
        answer(OK + "Transfer-Encoding: chunked\r\n", "x\r\n"),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nServer: ",
    ],
)
def test_what_is_not_one_answer_is_refused(wrong: bytes) -> None:
    with pytest.raises(BadHttpMessage):
        ends(wrong)


def test_what_an_answer_says_about_its_connection_stays_here() -> None:
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\nDate: now\r\nKeep-Alive: timeout=5\r\nTE: x\r\nETag: te: x"

    assert without_connection(head) == b"HTTP/1.1 200 OK\r\nDate: now\r\nETag: te: x"
