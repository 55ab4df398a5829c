"""An answer is read as supabase-py reads it, however it comes; what fails, fails as it does there."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from supabase import Client

import db.client
from db.client import engine_client
from db.commands._call import call, call_text
from db.errors import (
    AuthorityError,
    Conflict,
    Forbidden,
    Invalid,
    LeaseLost,
    NotFound,
    NotSignedIn,
    PreflightFailed,
    Unreachable,
    translated,
)
from local.ports import LOOPBACK
from tests.support.scripted_server import Reply, ScriptedServer, ok

ARGUMENTS = {"p_shard": "main", "p_note": "Größe"}
JSON = b'{"a": [1, 2.5, null, "\xc3\xa4"]}'
LONG = json.dumps([{"id": n, "note": "ä" * 50} for n in range(5000)]).encode()
HTML = b"<html><h1>502 Bad Gateway</h1></html>"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

ANSWERS = {
    "a document": ok(JSON),
    "a long document": ok(LONG),
    "rows": ok(b'[{"id": 1}, {"id": 2}]'),
    "a number": ok(b"42"),
    "a text": ok(b'"RUNNING"'),
    "null": ok(b"null"),
    "a mark before it": ok(b"\xef\xbb\xbf" + JSON),
    "created": ok(JSON, status="201 Created"),
    "a part": ok(b"[]", "Content-Range: 0-0/9", status="206 Partial Content"),
    "nothing": ok(b""),
    "no content": Reply(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "in chunks": Reply(CHUNKED + b"8\r\n" + JSON[:8] + b"\r\n%x;x=1\r\n" % len(JSON[8:]) + JSON[8:] + b"\r\n0\r\n\r\n"),
    "in chunks, with a trailer": Reply(CHUNKED + b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"),
    "until the end": Reply(HEAD + b"\r\n" + JSON, "hang up"),
    "of HTTP 1.0": Reply(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "hang up"),
    "after a hint": Reply(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok(JSON).told),
    "with the length twice": Reply(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
    "with more than it says": Reply(HEAD + b"Content-Length: 2\r\n\r\n{}[]"),
    "with a long head": ok(JSON, "X-Long: " + "x" * 80_000),
    "without a reason": Reply(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}"),
    "of zipped JSON": ok(gzip.compress(JSON), "Content-Encoding: gzip"),
    "of deflated JSON": ok(zlib.compress(JSON), "content-encoding: deflate"),
    "of JSON zipped twice": ok(gzip.compress(gzip.compress(JSON)), "Content-Encoding: gzip, gzip"),
    "of an unknown packing": ok(JSON, "Content-Encoding: xyz"),
    "of text that calls itself zipped": ok(JSON, "Content-Encoding: gzip"),
    "of a zipped page": ok(gzip.compress(HTML), "Content-Encoding: gzip"),
    "of half of something zipped": ok(gzip.compress(LONG)[:99], "Content-Encoding: gzip"),
    "a page": ok(HTML),
    "a text that is no JSON": ok(b"[1, 2"),
    "a text in Latin-1": Reply(HEAD + b"Content-Type: text/plain; charset=latin-1\r\nContent-Length: 4\r\n\r\n\xe4bcd"),
    "a text in nothing": ok(b"\xff\xfe\xfa"),
    "a place that is not told": ok(HTML, status="302 Found"),
}  # fmt: skip


def refusal(status: str, *headers: str, **told: Any) -> Reply:
    return ok(json.dumps({"message": "No.", "hint": "Do.", "details": None} | told).encode(), *headers, status=status)


REFUSALS = {
    "forbidden": (refusal("403 Forbidden", code="FORBIDDEN"), Forbidden),
    "not allowed": (refusal("403 Forbidden", code="42501"), Forbidden),
    "an invalid value": (refusal("422 Unprocessable", code="INVALID", details=[{"at": "p_qty"}]), Invalid),
    "a body that is no JSON": (refusal("400 Bad Request", code="PGRST102"), Invalid),
    "not found": (refusal("404 Not Found", code="NOT_FOUND"), NotFound),
    "no such function": (refusal("404 Not Found", code="PGRST202", details="Searched."), AuthorityError),
    "a conflict": (refusal("409 Conflict", code="CONFLICT", details=[{"version": 2}]), Conflict),
    "a failed pre-flight": (refusal("409 Conflict", code="PREFLIGHT_FAILED", details=[{"a": 1}]), PreflightFailed),
    "a lost lease": (refusal("409 Conflict", code="LEASE_LOST"), LeaseLost),
    "an old token": (refusal("401 Unauthorized", code="PGRST301", hint=None), NotSignedIn),
    "a zipped refusal": (
        ok(gzip.compress(b'{"code": "CONFLICT"}'), "Content-Encoding: gzip", status="409 Conflict"),
        Conflict,
    ),
    "a text that calls itself zipped": (ok(HTML, "Content-Encoding: gzip", status="500 Oh"), Unreachable),
    "a call that took too long": (refusal("500 Internal Server Error", code="57014"), Unreachable),
    "no connection left": (refusal("503 Service Unavailable", code="PGRST003"), Unreachable),
    "a gateway that reaches nothing": (refusal("503 Service Unavailable", code="503"), Unreachable),
    "a gateway that turns the key away": (refusal("401 Unauthorized", code="401"), Unreachable),
    "a gateway's page": (ok(HTML, status="502 Bad Gateway"), Unreachable),
    "a gateway that has had enough": (ok(HTML, status="429 Too Many Requests"), Unreachable),
    "a gateway's own fault": (ok(HTML, status="500 Internal Server Error"), Unreachable),
    "a gateway that reaches no origin": (ok(b"error code: 523", status="523 No Reason"), Unreachable),
    "a gateway's silence": (ok(b"", status="504 Gateway Time-out"), Unreachable),
    "a gateway without a reason": (ok(b"", status="503 "), Unreachable),
    "a page for a forbidden call": (ok(HTML, status="403 Forbidden"), Unreachable),
    "a page for too long a call": (ok(HTML, status="413 Content Too Large"), AuthorityError),
    "a page, and the code beside it": (
        ok(HTML, 'Proxy-Status: "PostgREST"; error=PGRST301', status="401 Unauthorized"),
        NotSignedIn,
    ),
    "no words at all": (ok(b"{}", status="400 Bad Request"), Unreachable),
    "a number as code": (refusal("418 I'm a teapot", code=42), AuthorityError),
    "rows": (ok(b"[]", status="500 Internal Server Error"), Unreachable),
    "bytes": (ok(b"\xff\xfe", status="500 Internal Server Error"), Unreachable),
}

NO_ANSWERS = {
    "nothing": Reply(b"", "hang up"),
    "a reset": Reply(b"", "reset"),
    "a reset after half": Reply(HEAD + b"Content-Length: 9\r\n\r\n{", "reset"),
    "half of the body": Reply(HEAD + b"Content-Length: 9\r\n\r\n{}", "hang up"),
    "half of the chunks": Reply(CHUNKED + b"2\r\n{}\r\n", "hang up"),
    "another protocol": Reply(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "hang up"),
    "a page without a head": Reply(HTML, "hang up"),
    "a status of letters": Reply(b"HTTP/1.1 OK\r\n\r\n", "hang up"),
    "a header without a name": Reply(HEAD + b"garbage\r\nContent-Length: 2\r\n\r\n{}", "hang up"),
    "a length that is none": Reply(HEAD + b"Content-Length: two\r\n\r\n{}", "hang up"),
    "two lengths": Reply(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", "hang up"),
    "a chunk of no length": Reply(CHUNKED + b"x\r\n{}\r\n0\r\n\r\n", "hang up"),
    "a chunk longer than it says": Reply(CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", "hang up"),
    "an unknown way of sending": Reply(HEAD + b"Transfer-Encoding: carrier-pigeon\r\n\r\n{}", "hang up"),
    "a head without an end": Reply(HEAD + b"X: " + b"x" * 200_000, "hang up"),
}

Outcome = tuple[Any, ...]


def outcome(ask: Callable[[], Any]) -> Outcome:
    """Return what came of a call, or all that its error tells."""
    try:
        return "data", ask()
    except AuthorityError as error:
        return type(error), error.code, error.message, error.hint, error.details
    except UnicodeDecodeError as error:
        return type(error), str(error)


def theirs(client: Client) -> Any:
    with translated():
        return client.rpc("f", ARGUMENTS).execute().data


def their_text(client: Client) -> bytes:
    with translated():
        return client.rpc("f", ARGUMENTS).request.send(httpx.Headers()).content


def ours(client: Client) -> Any:
    return call(client, "f", **ARGUMENTS)


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in ANSWERS.items()])
def test_an_answer_reads_as_supabase_py_reads_it(client: Client, server: ScriptedServer, reply: Reply) -> None:
    server.reply = lambda _: reply

    assert outcome(lambda: ours(client)) == outcome(lambda: theirs(client))


@pytest.mark.parametrize(
    "reply", [pytest.param(reply, id=name) for name, reply in ANSWERS.items() if b" 302 " not in reply.told]
)
def test_a_long_answer_is_the_text_that_supabase_py_would_read(
    client: Client, server: ScriptedServer, reply: Reply
) -> None:
    server.reply = lambda _: reply

    assert outcome(lambda: call_text(client, "f", **ARGUMENTS)) == outcome(lambda: their_text(client))


@pytest.mark.parametrize(
    ("reply", "kind"), [pytest.param(reply, kind, id=name) for name, (reply, kind) in REFUSALS.items()]
)
def test_a_refusal_is_the_error_that_supabase_pys_would_be(
    client: Client, server: ScriptedServer, reply: Reply, kind: type[AuthorityError]
) -> None:
    server.reply = lambda _: reply

    refused = outcome(lambda: ours(client))

    assert refused[0] is kind
    assert refused == outcome(lambda: theirs(client))
    assert refused == outcome(lambda: call_text(client, "f", **ARGUMENTS))


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in NO_ANSWERS.items()])
def test_what_is_no_answer_is_unreachable_and_not_asked_for_again(
    client: Client, server: ScriptedServer, reply: Reply
) -> None:
    server.reply = lambda _: reply

    failed = outcome(lambda: ours(client))
    asked = len(server.asked)

    assert failed[:2] == (Unreachable, "UNREACHABLE")
    assert asked == 1
    assert failed == outcome(lambda: theirs(client))


@pytest.mark.parametrize(
    "whole",
    [
        ok(b'{"claimed": []}', "Connection: close").told,
        CHUNKED + b'8\r\n{"claim"\r\n4\r\n: 0}\r\n0\r\n\r\n',
        refusal("409 Conflict", code="LEASE_LOST").told,
        b"HTTP/1.1 204 No Content\r\nServer: test\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_anywhere_is_no_answer(client: Client, server: ScriptedServer, whole: bytes) -> None:
    for length in range(len(whole)):
        server.reply = lambda _, told=whole[:length]: Reply(told, "hang up")

        assert outcome(lambda: ours(client))[0] is Unreachable, whole[:length]

    assert len(server.asked) == len(whole)


@pytest.fixture
def impatient(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(db.client, "TIMEOUT_S", httpx.Timeout(0.2, connect=0.1))
    return engine_client(server.url, "sb_secret_test")


@pytest.mark.parametrize("told", [b"", HEAD + b"Content-Length: 9\r\n\r\n{"])
def test_an_answer_that_does_not_come_in_time_is_unreachable(
    impatient: Client, server: ScriptedServer, told: bytes
) -> None:
    server.reply = lambda _: Reply(told, after_s=0.4 if not told else 0)

    failed = outcome(lambda: ours(impatient))

    assert failed[0] is Unreachable
    assert "ReadTimeout" in failed[2]
    assert len(server.asked) == 1
    assert failed == outcome(lambda: theirs(impatient))


def test_nobody_there_is_unreachable() -> None:
    client = engine_client(f"http://{LOOPBACK}:9", "sb_secret_test")

    failed = outcome(lambda: ours(client))

    assert failed[0] is Unreachable
    assert failed == outcome(lambda: theirs(client))


def test_a_name_that_nobody_has_is_unreachable() -> None:
    client = engine_client("http://authority.invalid", "sb_secret_test")

    failed = outcome(lambda: ours(client))

    assert failed[0] is Unreachable
    assert failed == outcome(lambda: theirs(client))


@pytest.fixture
def full() -> Iterator[str]:
    """The address of one who takes no more callers, and tells nobody."""
    with socket.create_server((LOOPBACK, 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


def test_a_server_that_lets_nobody_in_is_unreachable_after_a_moment(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db.client, "TIMEOUT_S", httpx.Timeout(5, connect=0.1))
    client = engine_client(full, "sb_secret_test")

    failed = outcome(lambda: ours(client))

    assert failed[0] is Unreachable
    assert "ConnectTimeout" in failed[2]
    assert failed == outcome(lambda: theirs(client))


def test_a_token_that_no_header_can_carry_is_unreachable(client: Client) -> None:
    client.postgrest.auth("two\nlines")

    failed = outcome(lambda: ours(client))

    assert failed[0] is Unreachable
    assert failed == outcome(lambda: theirs(client))


def test_a_redirect_is_not_followed(client: Client, server: ScriptedServer) -> None:
    server.reply = lambda _: ok(b"", f"Location: {server.url}/elsewhere", status="308 Permanent Redirect")

    with pytest.raises(AuthorityError) as refused:
        ours(client)

    assert (refused.value.code, refused.value.message) == ("308", "Permanent Redirect")
    assert len(server.asked) == 1
