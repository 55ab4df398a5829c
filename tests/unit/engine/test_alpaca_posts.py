"""Posts go out as a session's would, once each, and fail as they would."""

import gzip
import json
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from engine.adapters import alpaca_posts
from engine.adapters.alpaca_posts import Posts
from tests.support.certificate import certificate_for_loopback
from tests.support.scripted_server import Reply, ScriptedServer, ok

HEADERS = {"APCA-API-KEY-ID": "key", "User-Agent": "test"}
BODY = {"symbol": "AAPL", "qty": "1", "take_profit": {"limit_price": "12.50"}}


class Broker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, dict[str, str], bytes]]
    answer: dict[str, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers.items()), body))
        time.sleep(self.answer.get("after_s", 0))
        told = self.answer.get("body", b'{"id": "b1"}')
        self.send_response(self.answer.get("status", 200))
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("X-Request-ID", "r1")
        self.send_header("Content-Length", str(len(told) + self.answer.get("missing", 0)))
        self.end_headers()
        self.wfile.write(told)
        self.close_connection = bool(self.answer.get("missing"))

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def broker() -> Iterator[Any]:
    handler = type("ThisBroker", (Broker,), {"asked": [], "answer": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{server.server_port}/v2/orders"  # type: ignore[attr-defined]
        yield handler
        server.shutdown()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def send(session: requests.Session, url: str, timeout_s: float = 3) -> requests.Response:
    return Posts(session).send(url, body=BODY, headers=HEADERS, timeout_s=timeout_s)


def test_what_arrives_is_what_the_session_itself_would_send(broker: Any, session: requests.Session) -> None:
    session.request("POST", broker.url, headers=HEADERS, json=BODY, allow_redirects=False)
    posts = Posts(session)

    for n in range(2):
        posts.send(broker.url, body=BODY | {"qty": str(n)}, headers=HEADERS, timeout_s=3)

    (path, headers, body), *ours = broker.asked
    assert [(path, headers)] * 2 == [(path, headers) for path, headers, _ in ours]
    assert [json.loads(body) for *_, body in ours] == [json.loads(body) | {"qty": str(n)} for n in range(2)]


def test_the_answer_reads_as_the_sessions_own(broker: Any, session: requests.Session) -> None:
    broker.answer = {"status": 403, "body": '{"message": "Größe"}'.encode()}

    theirs, ours = session.post(broker.url, json=BODY), send(session, broker.url)

    for name in ("status_code", "reason", "url", "encoding", "text", "content"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.json(), ours.headers["x-request-id"]) == ({"message": "Größe"}, "r1")
    with pytest.raises(requests.HTTPError, match="403"):
        ours.raise_for_status()


def test_other_headers_are_sent_as_they_are_told(broker: Any, session: requests.Session) -> None:
    posts = Posts(session)

    for key in ("old", "new"):
        posts.send(broker.url, body=BODY, headers={"APCA-API-KEY-ID": key}, timeout_s=3)

    assert [headers["APCA-API-KEY-ID"] for _, headers, _ in broker.asked] == ["old", "new"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"after_s": 0.5}, requests.ReadTimeout),
        ({"missing": 5}, requests.ConnectionError),  # it ends in the middle
    ],
)
def test_an_answer_that_does_not_come_is_asked_for_once(
    answer: dict[str, Any], error: type[Exception], broker: Any, session: requests.Session
) -> None:
    broker.answer = answer

    with pytest.raises(error):
        send(session, broker.url, timeout_s=0.2)

    assert len(broker.asked) == 1


@pytest.mark.parametrize("status", [302, 429, 503])
def test_nothing_is_followed_or_sent_again(status: int, broker: Any, session: requests.Session) -> None:
    broker.answer = {"status": status}

    assert send(session, broker.url).status_code == status
    assert len(broker.asked) == 1


def test_nobody_there_is_a_connection_error(session: requests.Session) -> None:
    with pytest.raises(requests.ConnectionError):
        send(session, "http://127.0.0.1:9/v2/orders")


def test_a_proxy_is_gone_through(broker: Any, session: requests.Session) -> None:
    session.proxies = {"http": broker.url.removesuffix("/v2/orders")}

    send(session, "http://broker.test/v2/orders")

    ((path, headers, _),) = broker.asked
    assert (path, headers["Host"]) == ("http://broker.test/v2/orders", "broker.test")


def test_an_answer_that_is_cut_anywhere_is_no_answer(session: requests.Session) -> None:
    server, whole = ScriptedServer(), ok(b'{"id": "b1"}').told

    for length in range(len(whole)):
        server.reply = lambda _request, length=length: Reply(whole[:length], "hang up")
        with pytest.raises(requests.ConnectionError):
            send(session, server.url)

    assert len(server.asked) == len(whole)
    server.close()


def test_a_compressed_answer_is_read(session: requests.Session) -> None:
    server = ScriptedServer()
    server.reply = lambda _request: ok(gzip.compress(b'{"id": "b1"}'), "Content-Encoding: gzip")

    assert send(session, server.url).json() == {"id": "b1"}
    server.close()


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

    def test_a_broker_that_is_trusted_is_asked(
        self, guarded: ScriptedServer, certificate: Path, session: requests.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trusted = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(alpaca_posts, "_trusted", lambda: trusted)

        assert send(session, guarded.url + "/v2/orders").json() == {}
        assert guarded.asked[0][1].startswith(b"POST /v2/orders HTTP/1.1")

    def test_nothing_is_sent_to_a_broker_that_nobody_vouches_for(
        self, guarded: ScriptedServer, session: requests.Session
    ) -> None:
        with pytest.raises(requests.ConnectionError):
            send(session, guarded.url)

        assert guarded.asked == []

    def test_the_session_itself_asks_where_certificates_are_ones_own(
        self, guarded: ScriptedServer, certificate: Path, session: requests.Session
    ) -> None:
        session.verify = str(certificate)

        assert send(session, guarded.url).json() == {}
