"""What the gateway does with calls and answers of every kind, before a PostgREST that says what a test wants."""

import json
import os
import random
import socket
import threading
import time

import pytest

from local.auth.lines import LINES_MAX
from local.auth.plain import BODY_MAX
from tests.integration.stack.conftest import Front
from tests.support.rest_stand_in import WITHIN_S, Caller, Connection, RestStandIn, eventually, ok

POST = "POST /rest/v1/rpc/f"
GET = "GET /rest/v1/t"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class TestCalls:
    def test_head_and_body_reach_postgrest_together_though_they_came_apart(
        self, caller: Caller, rest: RestStandIn
    ) -> None:
        caller.socket.sendall(caller.head(POST, "Content-Length: 7"))
        time.sleep(0.05)
        caller.socket.sendall(b'{"a":')
        time.sleep(0.05)
        caller.socket.sendall(b"1}")

        assert caller.answer().read() == b"{}"
        ((_, heard),) = rest.heard
        assert heard.startswith(b"POST /rpc/f HTTP/1.1\r\n")
        assert heard.endswith(b'\r\n\r\n{"a":1}')

    @pytest.mark.parametrize("more", [[], ["TE: trailers"], ["X: 1", "X: 2"]])
    def test_the_key_is_spent_and_what_is_of_the_connection_stays_here(
        self, caller: Caller, rest: RestStandIn, more: list[str]
    ) -> None:
        path = "GET /rest/v1/t?select=%22a%22,b&or=(a.eq.%C3%A4,b.is.null)&x=a+b%20c"

        caller.call(path, "Connection: keep-alive", "Keep-Alive: timeout=1", "Prefer: count=exact", *more).read()

        ((_, heard),) = rest.heard
        line, *headers = heard.decode().rstrip().split("\r\n")
        assert line == f"{path.replace('/rest/v1', '')} HTTP/1.1"
        assert "Prefer: count=exact" in headers
        assert "Connection: keep-alive" not in headers
        names = [header.partition(":")[0].lower() for header in headers]
        assert sorted(set(names) - {"connection", "x"}) == ["authorization", "host", "prefer"]

    def test_a_wrong_key_reaches_nobody(self, front: Front, rest: RestStandIn) -> None:
        with Caller(front.port, "wrong") as caller:
            answer = caller.call(POST, body=b"{}")

            assert (answer.status, json.loads(answer.read())["message"]) == (401, "Invalid API key")
        assert rest.heard == []

    @pytest.mark.parametrize("size", [BODY_MAX, BODY_MAX + 1, 8 * BODY_MAX])
    def test_a_large_body_arrives_whole(self, caller: Caller, rest: RestStandIn, size: int) -> None:
        body = os.urandom(size)

        caller.call(POST, body=body).read()

        assert rest.heard[0][1].partition(b"\r\n\r\n")[2] == body

    def test_a_very_large_body_is_not_held_here(self, caller: Caller, rest: RestStandIn) -> None:
        begun = threading.Event()
        arrived: list[int] = []

        def hear(connection: Connection, call: bytes) -> None:
            begun.set()
            body = call.partition(b"\r\n\r\n")[2]
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += connection.hear()
            arrived.append(body.count(b"x"))
            connection.say(ok())

        rest.answer = hear
        caller.socket.sendall(
            caller.head(POST, "Transfer-Encoding: chunked") + b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        )
        assert begun.wait(WITHIN_S)
        caller.socket.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n0\r\n\r\n")

        assert caller.answer().read() == b"{}"
        assert arrived == [0x200000]

    @pytest.mark.parametrize("answer", [ok(), CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"])
    @pytest.mark.parametrize("line", ["GET /auth/v1/health", "GET /auth/v1/nothing", f"{GET}?twice", f"{POST}?twice"])
    def test_a_call_that_is_not_plain_ends_its_connections_and_says_so(
        self, front: Front, rest: RestStandIn, line: str, answer: bytes
    ) -> None:
        rest.answer = lambda connection, _call: connection.say(answer)
        for _ in range(2):
            with front.caller() as caller:
                caller.call(GET).read()

                there = caller.call(line, *(["X: 1", "X: 2"] if "twice" in line else []))

                assert (there.status, there.will_close) == (404 if "nothing" in line else 200, True)
                assert there.read() != b""
                assert caller.socket.recv(1) == b""
        numbers = [number for number, heard in rest.heard if b"twice" in heard]
        assert len(numbers) == len(set(numbers)) == (2 if "twice" in line else 0)

    def test_calls_that_do_not_wait_for_answers_are_answered_in_turn(self, caller: Caller, rest: RestStandIn) -> None:
        rest.answer = lambda connection, call: connection.say(ok(call[5:8]))
        heads = [caller.head(f"GET /rest/v1/{number}") for number in range(100, 120)]
        caller.socket.sendall(b"".join(heads) + caller.head("GET /auth/v1/health"))

        said = b""
        while b"Interlock gateway" not in said:
            said += caller.socket.recv(1 << 16)

        bodies = [part[:3] for part in said.split(b"Content-Length: 3\r\n\r\n")[1:]]
        assert bodies == [b"%d" % number for number in range(100, 120)]
        assert len(rest.heard) == 20

    def test_calls_of_a_caller_that_does_not_read_wait(self, caller: Caller, rest: RestStandIn) -> None:
        rest.answer = lambda connection, _call: connection.say(ok(b"x" * 1_000_000))
        caller.socket.sendall(caller.head(GET) * 50)
        time.sleep(0.5)
        waiting_at = len(rest.heard)

        said = 0
        while said < 50_000_000:
            said += len(caller.socket.recv(1 << 20))

        assert waiting_at < 25
        assert len(rest.heard) == 50

    def test_a_connection_is_used_again_on_both_sides(self, caller: Caller, rest: RestStandIn) -> None:
        for _ in range(5):
            caller.call(POST, body=b"{}").read()

        assert len({number for number, _ in rest.heard}) == 1

    def test_more_callers_than_connections_are_all_answered(self, front: Front, rest: RestStandIn) -> None:
        callers = [front.caller() for _ in range(LINES_MAX + 20)]
        go = threading.Event()
        rest.answer = lambda connection, _call: (go.wait(WITHIN_S), connection.say(ok()))[1]
        for caller in callers:
            caller.socket.sendall(caller.head(GET))
        eventually(lambda: len(rest.heard) == len(callers))
        go.set()

        assert [caller.answer().status for caller in callers] == [200] * len(callers)
        assert sum(b"Connection: close" in heard for _, heard in rest.heard) == len(callers) - LINES_MAX
        for caller in callers:
            caller.socket.close()


class TestAnswers:
    @pytest.mark.parametrize("piece", [1, 7, 10_000])
    @pytest.mark.parametrize(
        ("method", "said", "status", "body"),
        [
            ("GET", ok(b"[]", "Content-Range: 0-24/3000"), 200, b"[]"),
            ("GET", ok(b"[]", "Content-Range: 0-0/2", status="206 Partial Content"), 206, b"[]"),
            ("POST", b"HTTP/1.1 204 No Content\r\nContent-Range: */*\r\n\r\n", 204, b""),
            ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', 304, b""),
            ("HEAD", ok(b"")[:-4] + b"\r\nContent-Range: 0-24/3000\r\n\r\n", 200, b""),
            (
                "GET",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
                200,
                b"[1,2]",
            ),
            ("GET", ok(b"{}", status="409 Conflict"), 409, b"{}"),
        ],
    )
    def test_an_answer_comes_back_as_it_is_however_it_comes(
        self, caller: Caller, rest: RestStandIn, method: str, said: bytes, status: int, body: bytes, piece: int
    ) -> None:
        def speak(connection: Connection, _call: bytes) -> None:
            for start in range(0, len(said), piece):
                connection.say(said[start : start + piece])
                time.sleep(0.001)

        rest.answer = speak

        for _ in range(2):
            answer = caller.call(f"{method} /rest/v1/t")
            assert (answer.status, answer.read(), answer.will_close) == (status, body, False)
            there = said.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
            assert [f"{name}: {value}" for name, value in answer.headers.items()] == there
        assert len({number for number, _ in rest.heard}) == 1

    def test_what_postgrest_says_about_its_connection_stays_there(self, caller: Caller, rest: RestStandIn) -> None:
        rest.answer = lambda connection, _call: connection.say(ok(b"[]", "Connection: close", "Keep-Alive: timeout=1"))

        for _ in range(2):
            answer = caller.call(GET)
            assert (answer.read(), answer.will_close) == (b"[]", False)
            assert not {"connection", "keep-alive"} & {name.lower() for name in answer.headers}
        assert len({number for number, _ in rest.heard}) == 2

    def test_an_answer_that_ends_with_its_connection_is_passed_on(self, caller: Caller, rest: RestStandIn) -> None:
        rest.answer = lambda connection, _call: (
            connection.say(b"HTTP/1.1 200 OK\r\n\r\nsome ", b"more"),
            connection.hang_up(),
        )[1]

        assert caller.call(GET).read() == b"some more"

    @pytest.mark.parametrize("line", [GET, f"{GET}?odd"])
    def test_a_large_answer_comes_as_it_is_made_and_waits_for_a_slow_caller(
        self, front: Front, rest: RestStandIn, line: str
    ) -> None:
        pieces, size = 400, 1 << 17
        said: list[int] = []

        def speak(connection: Connection, _call: bytes) -> None:
            connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (pieces * size))
            for number in range(pieces):
                connection.say(b"x" * size)
                said.append(number)

        rest.answer = speak
        with front.caller() as caller:
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            answer = caller.call(line, *(["X: 1", "X: 2"] if line.endswith("odd") else []))
            time.sleep(0.3)
            waiting_at = len(said)

            assert len(answer.read()) == pieces * size

        assert 0 < waiting_at < pieces / 2
        assert len(said) == pieces

    def test_everybody_gets_the_answer_to_the_own_call(self, front: Front, rest: RestStandIn) -> None:
        def speak(connection: Connection, call: bytes) -> None:
            said = call.partition(b"\r\n\r\n")[2]
            body = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(said), said) if said[0] % 2 else ok(said)
            cut = said[1] * len(body) // 256
            connection.say(body[:cut], body[cut:])

        def ask(seed: int) -> None:
            chance = random.Random(seed)
            while len(right) < 1000:
                with front.caller() as caller:
                    while chance.random() > 0.1:
                        body = chance.randbytes(chance.choice((2, 200, 20_000, 200_000)))
                        right.append(caller.call(POST, body=body).read() == body)
                    caller.socket.sendall(caller.head(POST, "Content-Length: 2") + b"{}")  # and leaves

        right: list[bool] = []
        rest.answer = speak
        callers = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()

        assert all(right)

    def test_other_callers_are_served_while_one_is_slow(self, front: Front, rest: RestStandIn) -> None:
        large = ok(b"x" * 10_000_000)
        rest.answer = lambda connection, call: connection.say(large if b"/large" in call else ok())
        with front.caller() as slow, front.caller() as quick:
            slow.socket.sendall(slow.head("GET /rest/v1/large"))
            time.sleep(0.1)

            assert quick.call(GET).read() == b"{}"
            assert len(slow.answer().read()) == 10_000_000
            assert slow.call(GET).read() == b"{}"
