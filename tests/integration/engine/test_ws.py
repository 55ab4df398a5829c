"""`WS /ws` over the real authority: what it tells, to whom, and when it ends."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from supabase import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from engine.api import live
from local.stack import Stack
from tests.db.conftest import Engine
from tests.integration.engine.conftest import bearer
from tests.support.clients import SignIn

Connect = Callable[..., ClientConnection]
WAIT_S = 15


@pytest.fixture
def ws(api: httpx.Client) -> Connect:
    """Connect with a client's token in the header, or however the arguments say."""

    def connected(client: Client | None = None, query: str = "", **options: Any) -> ClientConnection:
        url = str(api.base_url).replace("http", "ws") + "/ws" + query
        headers = bearer(client) if client else {}
        return connect(url, additional_headers=headers, proxy=None, **options)

    return connected


def token_of(client: Client) -> str:
    return bearer(client)["Authorization"].removeprefix("Bearer ")


def heard(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=WAIT_S))
    return message


def close_code(socket: ClientConnection) -> int | None:
    """Return the code with which the server closes, after whatever it says before."""
    deadline = time.monotonic() + WAIT_S
    with pytest.raises(ConnectionClosed) as ended:
        while time.monotonic() < deadline:
            socket.recv(timeout=WAIT_S)
    return ended.value.rcvd.code if ended.value.rcvd else None


def test_health_is_told_at_connect_to_every_role(ws: Connect, sign_in: SignIn, healthy_engine: Engine) -> None:
    for who in ("admin", "operator", "alice"):
        with ws(sign_in(who)) as socket:
            message = heard(socket)

        assert message["type"] == "health_update"
        control = message["health"]["tradingControl"]
        assert (control["mode"], control["role"]) == ("RUNNING", "analyst" if who == "alice" else who)
        assert {"lastChangedBy", "lastChangedAt", "reason"} <= set(control)


def test_a_change_is_told_once_and_nothing_while_nothing_changes(
    ws: Connect, api: httpx.Client, sign_in: SignIn, healthy_engine: Engine
) -> None:
    with ws(sign_in("alice")) as socket:
        heard(socket)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=2.5)
        api.post("/internal/trading/pause", json={"reason": "Lunch"}, headers=bearer(sign_in("admin")))

        control = heard(socket)["health"]["tradingControl"]

        assert (control["mode"], control["reason"]) == ("PAUSED", "Lunch")
        with pytest.raises(TimeoutError):
            socket.recv(timeout=2.5)


def test_a_token_may_come_as_a_subprotocol_as_browsers_send_it(ws: Connect, sign_in: SignIn) -> None:
    with ws(subprotocols=["interlock.v1", f"bearer.{token_of(sign_in('alice'))}"]) as socket:
        assert heard(socket)["type"] == "health_update"
        assert socket.subprotocol == "interlock.v1"


def test_a_token_may_come_as_the_first_message(ws: Connect, sign_in: SignIn) -> None:
    with ws() as socket:
        socket.send(json.dumps({"type": "auth", "token": token_of(sign_in("alice"))}))

        assert heard(socket)["health"]["tradingControl"]["email"] == "alice@interlock.local"


def test_a_token_in_the_address_is_refused(ws: Connect, sign_in: SignIn) -> None:
    with ws(sign_in("alice"), f"?access_token={token_of(sign_in('alice'))}") as socket:
        assert close_code(socket) == 4400


@pytest.mark.parametrize("token", ["forged.token.here", "x", "", "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.xx"])
def test_a_forged_token_is_refused_and_told_nothing(ws: Connect, token: str) -> None:
    with ws() as socket:
        socket.send(json.dumps({"type": "auth", "token": token}))

        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=WAIT_S)

    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4401


@pytest.mark.parametrize("message", ["", "hello", "[]", '{"type": "auth"}', "[" * 10_000, b"\x00"])
def test_a_message_that_is_none_ends_the_connection(ws: Connect, sign_in: SignIn, message: str | bytes) -> None:
    with ws(sign_in("alice")) as socket:
        socket.send(message)

        assert close_code(socket) == 4400


def test_whoever_sends_no_token_is_not_kept(ws: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TOKEN_WITHIN_S", 0.2)

    with ws() as socket:
        assert close_code(socket) == 4408


def test_the_connection_ends_when_its_token_does(ws: Connect, sign_in: SignIn, stack: Stack) -> None:
    short = shortened(token_of(sign_in("alice")), stack, lives_s=8)

    with ws(subprotocols=["interlock.v1", f"bearer.{short}"]) as socket:
        assert heard(socket)["type"] == "health_update"
        assert close_code(socket) == 4401


def test_the_connection_goes_on_when_a_fresh_token_comes_in_time(ws: Connect, sign_in: SignIn, stack: Stack) -> None:
    short = shortened(token_of(sign_in("alice")), stack, lives_s=8)

    with ws(subprotocols=["interlock.v1", f"bearer.{short}"]) as socket:
        heard(socket)
        socket.send(json.dumps({"type": "auth", "token": token_of(sign_in("alice"))}))

        with pytest.raises(TimeoutError):  # no news, and no end
            socket.recv(timeout=10)


def test_the_connection_ends_when_the_member_is_removed(
    ws: Connect, sign_in: SignIn, clean_db: psycopg.Connection
) -> None:
    with ws(sign_in("operator")) as socket:
        heard(socket)
        clean_db.execute("delete from members where email = 'operator@interlock.local'")

        assert close_code(socket) == 4403


def test_the_connection_ends_when_its_person_signs_out(ws: Connect, sign_in: SignIn) -> None:
    visitor = sign_in("alice", fresh=True)
    with ws(visitor) as socket:
        heard(socket)
        visitor.auth.sign_out({"scope": "local"})

        assert close_code(socket) in (4401, 4403)


def test_not_knowing_is_told_as_not_knowing(ws: Connect, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    client = sign_in("alice", fresh=True)
    with ws(client) as socket:
        heard(socket)
        monkeypatch.setattr(live.commands, "trading_status", _unreachable)

        message = heard(socket)

    assert (message["type"], message["code"]) == ("health_unknown", "UNREACHABLE")


def test_a_reader_that_reads_nothing_holds_nobody_up_and_is_let_go(
    ws: Connect, api: httpx.Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = live.health_view
    monkeypatch.setattr(live, "health_view", lambda *of: view(*of) | {"padding": "x" * 30_000_000})
    monkeypatch.setattr(live, "SEND_WITHIN_S", 0.5)
    admin = bearer(sign_in("admin"))
    with ws(sign_in("alice"), max_size=None, max_queue=1) as idle:
        answers = []
        for mode in ("pause", "halt", "pause", "halt"):  # the first fill the buffers on the way
            answers.append(api.post(f"/internal/trading/{mode}", json={"reason": "x"}, headers=admin).status_code)
            time.sleep(1.3)
        monkeypatch.setattr(live, "health_view", view)
        with ws(sign_in("alice")) as reader:
            assert heard(reader)["health"]["tradingControl"]["mode"] == "HALTED"

        assert answers == [200] * 4
        assert close_code(idle) in (4413, None)  # None: what was on the way, then the end


def test_there_is_an_end_to_connections(ws: Connect, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CONNECTIONS_MAX", 0)

    with ws(sign_in("alice")) as socket:
        assert close_code(socket) == 1013


def shortened(token: str, stack: Stack, *, lives_s: int) -> str:
    """Return the token as if it had been made to end soon."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims | {"exp": int(time.time()) + lives_s}, stack.keys.jwt_secret, algorithm="HS256")


def _unreachable(_: Any) -> None:
    raise live.AuthorityError("The database cannot be reached.", code="UNREACHABLE")
