"""Faults of answers: errors before and after the exchange acted, silence, and what cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from pydantic import ValidationError

from tests.integration.exchange.faults import LOOK_UP, SUBMIT, arm, look_up, resting
from tests.integration.exchange.live import LiveExchange


class TestAnswersWithoutTheExchange:
    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("500_before", 500),
            ("502_before", 502),
            ("503_before", 503),
            ("504_before", 504),
            ("401_before", 401),
            ("429_before", 429),
            ("refuse", 403),
        ],
    )
    def test_order_does_not_exist_when_the_error_came_first(self, live: LiveExchange, kind: str, status: int) -> None:
        arm(live, kind, route=SUBMIT)

        answers = [live.order(client_order_id="one") for _ in range(2)]

        assert [answer.status_code for answer in answers] == [status, 200]
        assert live.sim("GET", "ledger")["order_count"] == 1

    def test_gateway_answers_with_a_page_when_it_fails(self, live: LiveExchange) -> None:
        arm(live, "502_before", route=SUBMIT)

        with pytest.raises(APIError) as failed:
            live.trading.post("/orders", {"symbol": "AAPL"})

        assert failed.value.status_code == 502
        assert str(failed.value).startswith("<html>")
        with pytest.raises(ValueError, match="Expecting value"):
            _ = failed.value.code

    def test_names_the_time_to_come_back_when_the_limit_is_exceeded(self, live: LiveExchange) -> None:
        arm(live, "429_before", route="GET /v2/account")

        asked_at = time.time()
        answer = live.send("GET", "/v2/account")

        assert answer.json() == {"code": 42910000, "message": "rate limit exceeded"}
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert asked_at < int(answer.headers["X-RateLimit-Reset"]) <= time.time() + 60

    def test_keys_are_refused_when_they_were_rotated(self, live: LiveExchange) -> None:
        arm(live, "401_before", count=None)

        answers = [live.send("GET", path) for path in ("/v2/account", "/v2/clock", "/v2/positions")]

        assert [(answer.status_code, answer.json()) for answer in answers] == [(401, {"message": "unauthorized."})] * 3

    def test_refusal_has_the_wording_that_the_test_gave_it(self, live: LiveExchange) -> None:
        body = {"code": 42210000, "message": 'asset "AAPL" cannot be sold short'}
        arm(live, "refuse", route=SUBMIT, status=422, body=body)

        answer = live.order()

        assert (answer.status_code, answer.json()) == (422, body)


class TestAnswersThatGetLost:
    @pytest.mark.parametrize(("kind", "status"), [("504_after_accept", 504), ("500_after_accept", 500)])
    def test_order_exists_when_the_error_came_after(self, live: LiveExchange, kind: str, status: int) -> None:
        arm(live, kind, route=SUBMIT)

        assert live.order(client_order_id="one").status_code == status
        assert look_up(live).status_code == 200

    def test_success_shows_as_a_duplicate_when_the_client_repeats_a_504(self, live: LiveExchange) -> None:
        arm(live, "504_after_accept", route=SUBMIT)
        live.trading._retry, live.trading._retry_wait = 3, 0
        body = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}

        with pytest.raises(APIError) as refused:
            live.trading.post("/orders", body | {"client_order_id": "one"})

        assert (refused.value.status_code, refused.value.code) == (422, 40010001)
        assert live.sim("GET", "ledger")["order_count"] == 1

    def test_order_exists_when_the_connection_was_reset(self, live: LiveExchange) -> None:
        arm(live, "reset_after_accept", route=SUBMIT)

        with pytest.raises(requests.ConnectionError):
            live.order(client_order_id="one")

        assert look_up(live).status_code == 200

    @pytest.mark.parametrize(("kind", "orders"), [("hang", 0), ("hang_after_accept", 1)])
    def test_client_waits_in_vain_when_nothing_is_answered(self, live: LiveExchange, kind: str, orders: int) -> None:
        arm(live, kind, route=SUBMIT)

        with pytest.raises(requests.ReadTimeout):
            live.send("POST", "/v2/orders", json=_order(), timeout=0.2)

        assert live.sim("GET", "ledger")["order_count"] == orders

    @pytest.mark.parametrize("kind", ["delay", "delay_after_accept"])
    @pytest.mark.parametrize(("timeout_s", "gets_through"), [(5.0, True), (0.05, False)])
    def test_order_exists_either_way_when_the_answer_is_slow(
        self, live: LiveExchange, kind: str, timeout_s: float, gets_through: bool
    ) -> None:
        arm(live, kind, route=SUBMIT, delay_ms=150)
        got_through = True

        try:
            live.send("POST", "/v2/orders", json=_order(client_order_id="one"), timeout=timeout_s)
        except requests.ReadTimeout:
            got_through = False

        assert got_through is gets_through
        deadline = time.monotonic() + 5
        while look_up(live).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.02)  # the request is still being delayed
        assert look_up(live).status_code == 200


class TestAnswersThatCannotBeRead:
    @pytest.mark.parametrize(
        ("kind", "fields", "error"),
        [
            ("truncated_json", {}, requests.exceptions.JSONDecodeError),
            ("html_body", {}, requests.exceptions.JSONDecodeError),
            ("empty_body", {}, TypeError),
            ("set_field", {}, ValidationError),  # a status that no client knows
            ("set_field", {"field": "asset_class", "value": "ipo"}, ValidationError),
            ("missing_field", {"field": "created_at"}, ValidationError),
        ],
    )
    def test_client_breaks_and_the_order_exists(
        self, live: LiveExchange, kind: str, fields: dict[str, Any], error: type[Exception]
    ) -> None:
        resting(live)
        arm(live, kind, route=LOOK_UP, **fields)

        with pytest.raises(error):
            live.trading.get_order_by_client_id("one")

        assert live.trading.get_order_by_client_id("one").client_order_id == "one"

    def test_client_reads_on_when_a_field_is_new(self, live: LiveExchange) -> None:
        resting(live)
        arm(live, "set_field", route=LOOK_UP, field="quantum_flag", value=True)

        answer = look_up(live)

        assert answer.json()["quantum_flag"] is True

    def test_whole_list_is_lost_when_one_order_has_a_new_status(self, live: LiveExchange) -> None:
        resting(live)
        arm(live, "set_field", route="GET /v2/orders")

        with pytest.raises(ValidationError):
            live.trading.get_orders()


def eventually(is_so: Callable[[], bool]) -> bool:
    """Tell whether something comes true within what even a busy machine needs."""
    end = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class TestReadersThatLagBehind:
    def test_order_is_found_only_later_when_reads_lag(self, live: LiveExchange) -> None:
        arm(live, "read_lag", route="GET /v2/orders*", delay_ms=3000, count=None)
        order = live.order(client_order_id="one").json()

        at_once = [look_up(live), live.send("GET", f"/v2/orders/{order['id']}"), live.send("GET", "/v2/orders")]

        assert [answer.status_code for answer in at_once] == [404, 404, 200]
        assert at_once[0].json() == {"code": 40410000, "message": "order not found for one"}
        assert at_once[2].json() == []
        assert eventually(lambda: look_up(live).status_code == 200)

    def test_position_shows_only_later_when_it_lags_behind_the_fill(self, live: LiveExchange) -> None:
        arm(live, "position_lag", route="GET /v2/positions*", delay_ms=3000, count=None)
        live.order()
        live.step(ticks=1)

        assert live.send("GET", "/v2/positions").json() == []

        assert eventually(lambda: [held["qty"] for held in live.send("GET", "/v2/positions").json()] == ["10"])


class TestSwitch:
    def test_strikes_only_the_symbol_when_it_names_one(self, live: LiveExchange) -> None:
        arm(live, "500_before", route=SUBMIT, symbol="MSFT")

        assert [live.order(symbol=name).status_code for name in ("AAPL", "MSFT", "MSFT")] == [200, 500, 200]

    @pytest.mark.parametrize(
        "route", ["GET /v2/orders/{order_id}", "GET /v2/orders:by_client_order_id", "GET /v2/positions/{symbol}"]
    )
    def test_knows_the_symbol_of_a_request_that_does_not_say_it(self, holding: LiveExchange, route: str) -> None:
        order = resting(holding)
        path = route.removeprefix("GET ").replace("{order_id}", order["id"]).replace("{symbol}", "AAPL")
        arm(holding, "500_before", route=route, symbol="MSFT")
        arm(holding, "503_before", route=route, symbol="AAPL")

        answer = holding.send("GET", path, params={"client_order_id": "one"})

        assert answer.status_code == 503

    def test_strikes_the_same_requests_when_the_seed_is_the_same(self, live: LiveExchange) -> None:
        runs = []
        for _ in range(2):
            armed = arm(live, "503_before", route="GET /v2/clock", probability=0.5, seed=11, count=None)
            runs.append([live.send("GET", "/v2/clock").status_code for _ in range(20)])
            live.sim("DELETE", f"faults/{armed['id']}")

        assert runs[0] == runs[1]
        assert set(runs[0]) == {200, 503}

    def test_counts_its_strikes_when_asked(self, live: LiveExchange) -> None:
        arm(live, "503_before", route="GET *", count=3)
        for _ in range(2):
            live.send("GET", "/v2/clock")

        (fault,) = live.sim("GET", "faults")

        assert (fault["hits"], fault["count"]) == (2, 3)

    @pytest.mark.parametrize(
        "body",
        [
            {"kind": "earthquake"},
            {"kind": "hang", "route": "orders"},
            {"kind": "hang", "probability": 0},
            {"kind": "hang", "count": 0},
            {"kind": "hang", "tikcs": 3},
        ],
    )
    def test_refuses_what_makes_no_sense(self, live: LiveExchange, body: dict[str, Any]) -> None:
        answer = requests.post(f"{live.url}/_sim/faults", json=body, headers={"X-Sim-Token": "admin"}, timeout=5)

        assert (answer.status_code, live.sim("GET", "faults")) == (422, [])


def _order(**fields: Any) -> dict[str, Any]:
    body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    return body | fields
