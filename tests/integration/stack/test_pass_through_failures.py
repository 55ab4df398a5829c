"""What the gateway does when PostgREST fails, a caller leaves, or it is told to stop."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest

from local.auth.lines import UNREAD_MAX
from local.auth.plain import BODY_MAX
from tests.integration.stack.conftest import Front
from tests.support.rest_stand_in import WITHIN_S, Caller, Connection, RestStandIn, eventually, ok

POST = "POST /rest/v1/rpc/f"
GET = "GET /rest/v1/t"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class TestFailures:
    def test_a_write_that_postgrest_may_have_is_never_sent_again(self, caller: Caller, rest: RestStandIn) -> None:
        caller.call(POST, body=b"{}").read()
        rest.answer = lambda connection, _call: connection.hang_up()

        answer = caller.call(POST, body=b"{}")

        assert (answer.status, json.loads(answer.read())["code"]) == (503, "503")
        assert len(rest.heard) == 2

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_read_is_sent_once_more(self, caller: Caller, rest: RestStandIn, method: str) -> None:
        rest.answer = lambda connection, _call: connection.say(ok(b"")) if len(rest.heard) > 1 else connection.hang_up()

        assert caller.call(f"{method} /rest/v1/t").status == 200
        assert len(rest.heard) == 2

    def test_a_read_is_not_sent_for_ever(self, caller: Caller, rest: RestStandIn) -> None:
        rest.answer = lambda connection, _call: connection.hang_up()
        caller.socket.sendall(caller.head("HEAD /rest/v1/t"))
        said = caller.socket.recv(1 << 16)

        answer = caller.call(GET)

        assert said.startswith(b"HTTP/1.1 503 ")
        assert said.endswith(b"\r\n\r\n")
        assert (answer.status, json.loads(answer.read())["message"]) == (503, "The database cannot be reached.")
        assert len(rest.heard) == 4

    @pytest.mark.parametrize(
        "garbage", [b"nonsense\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2", b"\0" * 99_999]
    )
    def test_what_is_no_answer_is_told_as_none(self, caller: Caller, rest: RestStandIn, garbage: bytes) -> None:
        rest.answer = lambda connection, _call: (connection.say(garbage), connection.hang_up())[1]

        assert caller.call(POST, body=b"{}").status == 503
        rest.answer = lambda connection, _call: connection.say(ok())
        assert caller.call(POST, body=b"{}").status in (200, 503)

    @pytest.mark.parametrize("half", [ok(b"x" * 10)[:-5], CHUNKED + b"5\r\nhello\r\n"])
    def test_half_an_answer_is_seen_to_be_half(self, caller: Caller, rest: RestStandIn, half: bytes) -> None:
        rest.answer = lambda connection, _call: (connection.say(half), connection.hang_up())[1]

        with pytest.raises(http.client.IncompleteRead):
            caller.call(GET).read()
        assert len(rest.heard) == 1

    def test_no_call_fails_because_postgrest_hung_up_after_the_one_before(
        self, front: Front, caller: Caller, rest: RestStandIn
    ) -> None:
        before: list[Connection] = []
        rest.answer = lambda connection, _call: (before.append(connection), connection.say(ok()))[1]

        for _ in range(20):
            assert caller.call(POST, body=b"{}").read() == b"{}"
            # Asleep meanwhile, the gateway learns of both at once.
            front.process.signal(signal.SIGSTOP)
            before[-1].socket.shutdown(socket.SHUT_RDWR)
            caller.socket.sendall(caller.head(POST, "Content-Length: 2") + b"{}")
            front.process.signal(signal.SIGCONT)
            assert caller.answer().read() == b"{}"

        assert len(rest.heard) == 40

    @pytest.mark.parametrize(("size", "status"), [(UNREAD_MAX + 1, "401 Unauthorized"), (BODY_MAX, "200 OK")])
    def test_a_connection_on_which_postgrest_left_something_unread_is_not_used_again(
        self, caller: Caller, rest: RestStandIn, size: int, status: str
    ) -> None:
        ended = threading.Event()

        def refuse(connection: Connection, _call: bytes) -> None:
            connection.say(ok(status=status))
            while connection.hear():
                pass
            ended.set()

        rest.reads_all = False
        rest.answer = refuse

        assert caller.call(POST, body=b"x" * size).status == int(status[:3])
        assert ended.wait(WITHIN_S)

    def test_a_refusal_that_comes_before_all_was_read_is_passed_on(self, front: Front, rest: RestStandIn) -> None:
        rest.reads_all = False
        rest.answer = lambda connection, _call: (
            connection.say(ok(b"{}", status="401 Unauthorized")),
            connection.hang_up(),
        )[1]

        for size in [UNREAD_MAX + 1, 100_000, BODY_MAX, 5 * BODY_MAX] * 5:
            with front.caller() as caller:
                answer = caller.call(POST, body=b"x" * size)
                assert (answer.status, answer.read()) == (401, b"{}")

    def test_postgrest_away_is_told_and_its_return_noticed(self, caller: Caller, rest: RestStandIn) -> None:
        caller.call(POST, body=b"{}").read()
        rest.go_away()
        answers = [caller.call(POST, body=b"{}") for _ in range(3)]
        assert [(answer.status, json.loads(answer.read())["code"]) for answer in answers] == [(503, "503")] * 3

        rest.listen()

        assert caller.call(POST, body=b"{}").read() == b"{}"

    def test_a_call_ends_though_its_caller_is_gone(self, front: Front, rest: RestStandIn) -> None:
        go = threading.Event()
        rest.answer = lambda connection, _call: (go.wait(WITHIN_S), connection.say(ok()))[1]
        with front.caller() as leaving:
            leaving.socket.sendall(leaving.head(POST, "Content-Length: 2") + b"{}")
            eventually(lambda: len(rest.heard) == 1)
        time.sleep(0.05)
        go.set()
        time.sleep(0.05)

        with front.caller() as next_one:
            assert next_one.call(POST, body=b"{}").read() == b"{}"
        assert rest.heard[0][0] == rest.heard[1][0]

    def test_nobody_is_sent_what_a_caller_that_left_had_asked_for(self, front: Front, rest: RestStandIn) -> None:
        ended = threading.Event()

        def speak(connection: Connection, call: bytes) -> None:
            if b"/large" not in call:
                connection.say(ok())
                return
            try:
                connection.say(ok(b"x" * 100_000_000))
            except ConnectionError:
                ended.set()

        rest.answer = speak
        with front.caller() as leaving:
            leaving.socket.sendall(leaving.head("GET /rest/v1/large"))
            leaving.socket.recv(1000)
            time.sleep(0.2)  # until what it does not read holds everything up

        assert ended.wait(WITHIN_S)
        with front.caller() as next_one:
            assert next_one.call(GET).read() == b"{}"

    def test_half_a_call_reaches_nobody(self, front: Front, rest: RestStandIn) -> None:
        with front.caller() as leaving:
            leaving.socket.sendall(leaving.head(POST, "Content-Length: 20") + b"{}")
            time.sleep(0.05)
        time.sleep(0.05)

        assert rest.heard == []


class TestStop:
    def test_calls_under_way_are_answered_and_the_others_let_go(self, start: Callable[[], Front]) -> None:
        front, go = start(), {b"/1": threading.Event(), b"/2": threading.Event(), b"/3": threading.Event()}
        front.rest.answer = lambda connection, call: (go[call[4:6]].wait(WITHIN_S), connection.say(ok()))[1]
        with front.caller() as idle, front.caller() as first, front.caller() as second, front.caller() as third:
            first.socket.sendall(first.head("GET /rest/v1/1"))
            second.socket.sendall(second.head("GET /rest/v1/2"))
            third.socket.sendall(third.head("GET /rest/v1/3", "X: 1", "X: 2"))
            eventually(lambda: len(front.rest.heard) == 3)
            since = time.monotonic()
            front.process.signal(signal.SIGTERM)

            # Each is seen to end while there is still another to wait for.
            assert idle.socket.recv(1) == b""
            for path, caller in ((b"/1", first), (b"/2", second), (b"/3", third)):
                go[path].set()
                assert caller.answer().read() == b"{}"
                assert caller.socket.recv(1) == b""
            assert front.process.wait(WITHIN_S) == 0
            assert time.monotonic() - since < 2
            with pytest.raises(ConnectionRefusedError):
                front.caller()

    def test_nobody_is_waited_for_long(self, start: Callable[[], Front]) -> None:
        front = start()
        front.rest.answer = lambda _connection, _call: time.sleep(WITHIN_S)
        with front.caller() as caller:
            caller.socket.sendall(caller.head(GET))
            eventually(lambda: len(front.rest.heard) == 1)
            since = time.monotonic()
            front.process.signal(signal.SIGTERM)

            assert front.process.wait(WITHIN_S) == 0
            assert time.monotonic() - since < 2
