"""Lists of orders: every page, whatever is on it, and never faster than the broker allows."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import structlog

from engine.adapters.alpaca_broker import PAGE, AlpacaBroker
from engine.adapters.alpaca_posts import Posts
from engine.adapters.alpaca_rate import AlpacaRateLimit
from engine.domain.book import Purpose
from engine.domain.errors import BrokerUnavailable
from engine.domain.submission import Outcome
from tests.unit.engine.builders import an_order
from tests.unit.engine.fakes import ManualClock
from tests.unit.engine.test_alpaca_broker import BODY

SPENT = {"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "1893456030",
         "Date": "Tue, 01 Jan 2030 00:00:00 GMT"}  # fmt: skip


def a_body(n: int, **changes: Any) -> dict[str, Any]:
    return BODY | {"id": f"b{n}", "client_order_id": f"c{n}"} | changes


class Alpaca:
    """Answers lists from its rows as Alpaca does, and remembers what it was asked."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.asked: list[Mapping[str, str]] = []

    def get(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        self.asked.append(dict(query))
        after = query.get("after_order_id")
        begin = 0 if after is None else next(n for n, row in enumerate(self.rows) if row["id"] == after) + 1
        return self.rows[begin : begin + int(query["limit"])]


def a_broker(rows: list[dict[str, Any]]) -> tuple[AlpacaBroker, Alpaca]:
    broker, alpaca = AlpacaBroker(base_url="http://127.0.0.1:9", api_key="k", secret_key="s"), Alpaca(rows)
    broker._client = alpaca  # type: ignore[assignment]
    return broker, alpaca


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7])
def test_every_order_of_a_long_list_is_read_once(count: int) -> None:
    broker, alpaca = a_broker([a_body(n) for n in range(count)])

    pages = list(broker.order_pages(None))

    assert [order.broker_order_id for page in pages for order in page] == [f"b{n}" for n in range(count)]
    assert all(len(page) <= PAGE for page in pages)
    assert alpaca.asked[0]["status"] == "all"


def test_an_order_that_cannot_be_read_does_not_hide_the_others() -> None:
    broker, _ = a_broker([a_body(1), a_body(2, qty="many"), a_body(3, submitted_at="soon"), a_body(4)])

    with structlog.testing.capture_logs() as logs:
        orders = [order for page in broker.order_pages(None) for order in page]

    assert [order.broker_order_id for order in orders] == ["b1", "b4"]
    assert [entry["broker_order_id"] for entry in logs] == ["b2", "b3"]


def test_an_order_in_dollars_is_read_although_it_has_no_quantity() -> None:
    broker, _ = a_broker([a_body(1, qty=None, notional="100", filled_qty="0.5", filled_avg_price="200")])

    ((order,),) = broker.order_pages(None)

    assert (order.qty, order.filled_qty) == (order.filled_qty, order.qty)


def test_the_chain_of_replacements_is_read() -> None:
    broker, _ = a_broker([a_body(1, replaced_by="b2"), a_body(2, replaces="b1")])

    ((first, second),) = broker.order_pages(None)

    assert (first.replaced_by, second.replaces) == ("b2", "b1")


class TestRateLimit:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def broker(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AlpacaBroker:
        """A broker whose limit is used up but for what is kept; its lists are empty."""
        rate = AlpacaRateLimit(clock)
        broker = AlpacaBroker(base_url="http://127.0.0.1:9", api_key="k", secret_key="s", rate=rate)
        rate.note(200, SPENT)
        self.sent: list[str] = []

        def answer(method: str, path: str) -> requests.Response:
            self.sent.append(f"{method} {path.split('?')[0]}")
            response = requests.Response()
            is_list = method == "GET" and ":by_client" not in path
            response.status_code, response._content = 200, json.dumps([] if is_list else BODY).encode()
            return response

        monkeypatch.setattr(requests.Session, "send", lambda _, asked, **__: answer(asked.method, asked.path_url))
        monkeypatch.setattr(Posts, "send", lambda _, url, **__: answer("POST", urlsplit(url).path))
        return broker

    def test_an_entry_is_not_sent_and_an_exit_is(self, broker: AlpacaBroker) -> None:
        entry = broker.submit(an_order())
        assert (entry.outcome, entry.code, self.sent) == (Outcome.NOT_SENT, "RATE_LIMITED", [])

        broker.submit(an_order(purpose=Purpose.EXIT))
        broker.cancel("b1")
        broker.order_by_client_id("c1")

        assert self.sent == ["POST /v2/orders", "DELETE /v2/orders/b1", "GET /v2/orders:by_client_order_id"]

    def test_a_poll_gives_way(self, broker: AlpacaBroker) -> None:
        with pytest.raises(BrokerUnavailable, match="rate limit"):
            broker.open_orders()
        assert self.sent == []

    def test_a_sweep_waits_for_its_turn(self, broker: AlpacaBroker, clock: ManualClock) -> None:
        began_s = clock.monotonic_s()

        assert list(broker.order_pages(None)) == [[]]

        assert 29 <= clock.monotonic_s() - began_s <= 31


@pytest.mark.parametrize("body", ["[]", "null", "1", '"accepted"', "{}"])
def test_an_answer_that_is_no_order_leaves_it_open_whether_it_was_accepted(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, alpaca = a_broker([])
    monkeypatch.setattr(alpaca, "post", lambda _path, _ticket: json.loads(body), raising=False)

    assert broker.submit(an_order()).outcome is Outcome.UNKNOWN
