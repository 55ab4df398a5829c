"""What `/_sim` lets a test decide about the market, the fills and the orders."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.integration.exchange.live import LiveExchange


def ask(live: LiveExchange, method: str, path: str, **body: Any) -> requests.Response:
    headers = {"X-Sim-Token": "admin"}
    return requests.request(method, f"{live.url}/_sim/{path}", json=body, headers=headers, timeout=5)


class TestFillProfile:
    def test_is_what_the_start_said_until_it_is_changed(self, live: LiveExchange) -> None:
        before = live.sim("GET", "profile")

        live.sim("POST", "profile", profile="conservative")

        assert (before, live.sim("GET", "profile")) == ({"profile": "ideal"}, {"profile": "conservative"})
        live.restart()
        assert live.sim("GET", "profile") == {"profile": "conservative"}

    def test_limit_is_not_filled_by_a_touch_when_it_is_conservative(self, live: LiveExchange) -> None:
        filled = {}
        for profile in ("ideal", "conservative"):
            live.sim("POST", "profile", profile=profile)
            order = live.order(type="limit", limit_price=_next_ask(live), qty="1").json()
            live.step(ticks=1)
            filled[profile] = live.send("GET", f"/v2/orders/{order['id']}").json()["filled_qty"]

        assert filled == {"ideal": "1", "conservative": "0"}

    def test_is_refused_when_there_is_no_such_one(self, live: LiveExchange) -> None:
        answer = ask(live, "POST", "profile", profile="generous")

        message = "profile must be one of alpaca-paper, conservative, ideal"
        assert (answer.status_code, answer.json()["message"]) == (422, message)


class TestStatus:
    @pytest.mark.parametrize(
        "status", ["stopped", "suspended", "calculated", "accepted_for_bidding", "done_for_day", "pending_review"]
    )
    def test_is_shown_as_open_and_the_order_does_not_trade_when_it_is_rare(
        self, live: LiveExchange, status: str
    ) -> None:
        order = live.order().json()

        live.sim("POST", f"orders/{order['id']}/status", status=status)
        live.step(ticks=1)

        (listed,) = live.send("GET", "/v2/orders").json()
        assert (listed["status"], listed["filled_qty"]) == (status, "0")

    def test_order_fills_when_it_is_sent_back_to_work(self, live: LiveExchange) -> None:
        order = live.order().json()
        for status in ("suspended", "new"):
            live.sim("POST", f"orders/{order['id']}/status", status=status)

        live.step(ticks=1)

        assert live.send("GET", f"/v2/orders/{order['id']}").json()["status"] == "filled"

    def test_is_refused_when_no_way_leads_there(self, live: LiveExchange) -> None:
        order = live.order().json()

        answer = ask(live, "POST", f"orders/{order['id']}/status", status="filled")

        assert (answer.status_code, answer.json()["message"]) == (422, "no way from new to filled")

    def test_is_refused_when_the_order_waits_for_another(self, live: LiveExchange) -> None:
        exits = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "60"}}
        legs = live.order(order_class="bracket", **exits).json()["legs"]

        answers = [ask(live, "POST", f"orders/{leg['id']}/status", status="new") for leg in legs]

        assert [answer.status_code for answer in answers] == [422, 422]


class TestRefusals:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("POST", "halt", {"symbol": "NOPE"}, 422),
            ("POST", "halt", {"symbol": "AAPL", "halted": "yes"}, 422),
            ("PATCH", "account", {"trading_blokced": True}, 422),
            ("PATCH", "account", {"trading_blocked": "yes"}, 422),
            ("PATCH", "account", {"halted": ["AAPL"]}, 422),
            ("POST", "trade", {"symbol": "AAPL", "side": "hold", "qty": "1"}, 422),
            ("POST", "trade", {"symbol": "AAPL", "side": "buy", "qty": "100000"}, 403),
            ("DELETE", "faults/99", {}, 404),
            ("POST", "orders/nonsense/status", {"status": "new"}, 422),
        ],
    )
    def test_change_nothing_when_the_request_makes_no_sense(
        self, live: LiveExchange, method: str, path: str, body: dict[str, Any], status: int
    ) -> None:
        before = live.sim("GET", "ledger"), live.sim("GET", "account")

        answer = ask(live, method, path, **body)

        assert answer.status_code == status
        assert (live.sim("GET", "ledger"), live.sim("GET", "account")) == before

    def test_trade_by_hand_is_refused_when_the_market_is_closed(self, closed_market: LiveExchange) -> None:
        answer = ask(closed_market, "POST", "trade", symbol="AAPL", side="buy", qty="1")

        assert (answer.status_code, answer.json()["message"]) == (422, "AAPL does not trade now")
        assert closed_market.sim("GET", "ledger")["order_count"] == 0


def _next_ask(live: LiveExchange) -> str:
    """Return the ask of the coming tick: a purchase at this limit is touched, and not traded through."""
    exchange = live.exchange
    moment = exchange.ledger.moment
    return str(exchange.market.tick("AAPL", type(moment)(moment.session, moment.tick + 1)).ask)
