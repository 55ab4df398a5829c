"""Calls go out as supabase-py would send them, once each, over connections that are kept while they stand."""

import gc
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from supabase import Client

import db.client
from db import posts, wire
from db.client import engine_client, renew_token, sign_in_client
from db.commands._call import call
from db.errors import AuthorityError, Unreachable
from local.ports import LOOPBACK
from tests.support.certificate import certificate_for_loopback
from tests.support.scripted_server import Reply, ScriptedServer, body_of, ok


def connections(server: ScriptedServer) -> list[int]:
    """Return which connection each request came over."""
    return [number for number, _ in server.asked]


def token_of(request: bytes) -> str:
    return request.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0].decode()


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < give_up_s
        time.sleep(0.005)


class TestWhatIsSent:
    def test_it_is_what_supabase_py_would_send_to_the_byte(self, server: ScriptedServer) -> None:
        client = sign_in_client(server.url + "/behind", "sb_publishable_test", "header.payload.signature")
        arguments = {"p_shard": "main", "p_note": "Größe", "p_rows": [{"qty": "1", "at": None}], "p_on": True}

        client.rpc("request_entries", arguments).execute()
        call(client, "request_entries", **arguments)

        (_, theirs), (_, ours) = server.asked
        assert ours == theirs
        assert ours.startswith(b"POST /behind/rest/v1/rpc/request_entries HTTP/1.1\r\n")

    def test_what_json_does_not_know_goes_as_text(self, client: Client, server: ScriptedServer) -> None:
        some_id, at = UUID(int=7), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

        call(client, "f", p_id=some_id, p_ids=[some_id], p_qty=Decimal("1.50"), p_at=at, p_on={"day": date(2026, 1, 2)})

        assert body_of(server.asked[0][1]) == (
            b'{"p_id":"00000000-0000-0000-0000-000000000007","p_ids":["00000000-0000-0000-0000-000000000007"],'
            b'"p_qty":"1.50","p_at":"2026-01-02T03:04:05+00:00","p_on":{"day":"2026-01-02"}}'
        )

    @pytest.mark.parametrize("value", [float("nan"), object()])
    def test_what_json_cannot_carry_is_not_sent(self, client: Client, server: ScriptedServer, value: Any) -> None:
        with pytest.raises((ValueError, TypeError)):
            call(client, "f", p_value=value)

        assert server.asked == []

    def test_a_long_body_arrives_whole(self, client: Client, server: ScriptedServer) -> None:
        rows = [{"n": n, "note": "x" * 100} for n in range(20_000)]

        call(client, "f", p_rows=rows)

        assert len(body_of(server.asked[0][1])) > 2_000_000

    def test_head_and_body_go_together(
        self, client: Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[bytes] = []
        send = socket.socket.send
        monkeypatch.setattr(socket.socket, "send", lambda to, data: sent.append(bytes(data)) or send(to, data))

        call(client, "f")

        assert sent == [server.asked[0][1]]

    def test_the_environments_proxy_is_not_asked(
        self, client: Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{LOOPBACK}:9")

        assert call(client, "f") == {}


class TestTokens:
    def test_a_renewed_token_goes_with_the_next_call(self, server: ScriptedServer) -> None:
        client = sign_in_client(server.url, "sb_publishable_test", "old")

        call(client, "f")
        renew_token(client, "new")
        call(client, "f")

        assert [token_of(request) for _, request in server.asked] == ["old", "new"]
        assert connections(server) == [1, 1]

    def test_a_token_is_renewed_while_others_call(self, server: ScriptedServer) -> None:
        client = sign_in_client(server.url, "sb_publishable_test", "token-0")

        with ThreadPoolExecutor(4) as crowd:
            calls = [crowd.submit(call, client, "f") for _ in range(200)]
            for n in range(1, 200):
                renew_token(client, f"token-{n}")
            assert [one.result() for one in calls] == [{}] * 200
        call(client, "f")

        assert {token_of(request) for _, request in server.asked} <= {f"token-{n}" for n in range(200)}
        assert token_of(server.asked[-1][1]) == "token-199"

    def test_each_client_shows_its_own(self, server: ScriptedServer) -> None:
        people = [sign_in_client(server.url, "sb_publishable_test", name) for name in ("alice", "bob")]

        for client in people * 2:
            call(client, "f")

        assert [(n, token_of(request)) for n, request in server.asked] == [(1, "alice"), (2, "bob")] * 2


class TestConnections:
    def test_one_is_kept_between_calls(self, client: Client, server: ScriptedServer) -> None:
        for _ in range(3):
            call(client, "f")

        assert connections(server) == [1, 1, 1]

    def test_a_refusal_keeps_it_too(self, client: Client, server: ScriptedServer) -> None:
        server.reply = lambda _: ok(b'{"code": "CONFLICT"}', status="409 Conflict")

        for _ in range(2):
            with pytest.raises(AuthorityError):
                call(client, "f")

        assert connections(server) == [1, 1]

    def test_one_that_was_dropped_while_idle_is_not_used(self, client: Client, server: ScriptedServer) -> None:
        call(client, "f")
        server.hang_up()
        wait_until(lambda: server.held == 0)

        assert call(client, "f") == {}
        assert connections(server) == [1, 2]

    def test_one_that_was_idle_for_long_is_not_used(
        self, client: Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wire, "IDLE_MAX_S", 0.01)
        call(client, "f")
        time.sleep(0.02)

        call(client, "f")

        assert connections(server) == [1, 2]
        wait_until(lambda: server.held == 1)

    @pytest.mark.parametrize(
        "reply",
        [
            ok(b"{}", "Connection: close"),
            Reply(ok(b"{}").told + b"HTTP/1.1 200 OK\r\n"),  # more than was asked for
            Reply(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        ],
    )
    def test_one_that_cannot_go_on_is_closed(self, client: Client, server: ScriptedServer, reply: Reply) -> None:
        server.reply = lambda _: reply

        for _ in range(2):
            assert call(client, "f") == {}

        assert connections(server) == [1, 2]
        wait_until(lambda: server.held == 0)

    def test_a_call_that_was_given_up_leaves_its_answer_to_nobody(
        self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db.client, "TIMEOUT_S", httpx.Timeout(1))
        client = engine_client(server.url, "sb_secret_test")
        server.reply = lambda request: Reply(ok(body_of(request)).told, after_s=1.5 if b'"late"' in request else 0)

        with pytest.raises(Unreachable):
            call(client, "f", p="late")
        time.sleep(1)

        assert call(client, "f", p="next") == {"p": "next"}

    def test_an_answer_counts_though_the_server_hung_up_on_a_long_body(self) -> None:
        """It refuses what it has not read to the end."""
        refusal = ok(b'{"code": "TOO_BIG"}', status="413 Content Too Large").told

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(refusal)
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.2)  # then all the rest is reset

        with socket.create_server((LOOPBACK, 0)) as listener, ThreadPoolExecutor(1) as beside:
            answered = beside.submit(refuse)
            client = engine_client(f"http://{LOOPBACK}:{listener.getsockname()[1]}", "sb_secret_test")
            with pytest.raises(AuthorityError) as refused:
                call(client, "f", p="x" * 20_000_000)
            answered.result()

        assert refused.value.code == "TOO_BIG"

    def test_each_thread_gets_its_own_answers(self, client: Client, server: ScriptedServer) -> None:
        server.reply = lambda request: ok(body_of(request))

        with ThreadPoolExecutor(8) as crowd:
            asked = list(crowd.map(lambda n: call(client, "f", p_n=n), range(400)))

        assert asked == [{"p_n": n} for n in range(400)]
        assert max(connections(server)) <= 8

    def test_they_end_with_their_client(self, server: ScriptedServer) -> None:
        client = engine_client(server.url, "sb_secret_test")
        call(client, "f")
        assert (server.held, client in posts.KNOWN) == (1, True)
        known = len(posts.KNOWN)

        del client
        gc.collect()

        assert len(posts.KNOWN) < known
        wait_until(lambda: server.held == 0)


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        return certificate_for_loopback(tmp_path)

    @pytest.fixture
    def guarded(self, certificate: Path) -> Iterator[ScriptedServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = ScriptedServer(context)
        yield server
        server.close()

    def test_a_call_goes_through_when_the_server_is_trusted(
        self, guarded: ScriptedServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trusted = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(posts, "trusted", lambda: trusted)
        guarded.reply = lambda request: ok(body_of(request))
        client = engine_client(guarded.url, "sb_secret_test")

        assert [call(client, "f", p_n=n) for n in range(3)] == [{"p_n": n} for n in range(3)]
        assert connections(guarded) == [1, 1, 1]

    def test_nothing_is_sent_to_one_that_is_not(self, guarded: ScriptedServer) -> None:
        client = engine_client(guarded.url, "sb_secret_test")

        with pytest.raises(Unreachable, match="ConnectError"):
            call(client, "f")

        assert guarded.asked == []
