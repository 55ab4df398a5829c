"""An order goes out once, whatever the answer: alpaca-py by itself sends it up to four times."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from engine.adapters.alpaca_broker import AlpacaBroker
from engine.domain.submission import Outcome
from tests.unit.engine.builders import an_order


class Gateway(BaseHTTPRequestHandler):
    """Answers every request with the same error, and counts them."""

    status = 504
    asked: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(params=[429, 504])
def gateway(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("ThisGateway", (Gateway,), {"status": request.param, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_an_order_is_posted_once_when_a_gateway_answers_with_an_error(gateway: tuple[str, list[str]]) -> None:
    url, asked = gateway
    broker = AlpacaBroker(base_url=url, api_key="key", secret_key="secret")

    submission = broker.submit(an_order(broker_order_id=None))

    assert submission.outcome is Outcome.UNKNOWN
    assert asked == ["/v2/orders"]
