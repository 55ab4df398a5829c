"""Every fault of the catalogue, each seen to take effect."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from pydantic import ValidationError

from tests.integration.exchange.live import LiveExchange

SUBMIT = "POST /v2/orders"
LOOK_UP = "GET /v2/orders:by_client_order_id"
CANCEL = "DELETE /v2/orders/{order_id}"
REPLACE = "PATCH /v2/orders/{order_id}"


def arm(live: LiveExchange, kind: str, **fields: Any) -> dict[str, Any]:
    armed: dict[str, Any] = live.sim("POST", "faults", kind=kind, **fields)["armed"]
    return armed


def look_up(live: LiveExchange, name: str = "one") -> requests.Response:
    return live.send("GET", "/v2/orders:by_client_order_id", params={"client_order_id": name})


def resting(live: LiveExchange, **fields: Any) -> dict[str, Any]:
    """Place a purchase far below the market and return it."""
    fields = {"type": "limit", "limit_price": "50", "client_order_id": "one"} | fields
    order: dict[str, Any] = live.order(**fields).json()
    return order


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

        answer = live.send("GET", "/v2/account")

        assert answer.json() == {"code": 42910000, "message": "rate limit exceeded"}
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert time.time() < int(answer.headers["X-RateLimit-Reset"]) <= time.time() + 60

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


class TestOrdersThatGoWrong:
    @pytest.mark.parametrize("ticks", [0, 1, 3])
    def test_order_is_rejected_later_when_it_was_accepted(self, live: LiveExchange, ticks: int) -> None:
        arm(live, "reject_later", route=SUBMIT, ticks=ticks)
        answer = live.order(client_order_id="one")
        if ticks > 1:
            live.step(ticks=ticks - 1)
        before = look_up(live).json()["status"]
        if ticks:
            live.step(ticks=1)

        after = look_up(live).json()

        assert (answer.status_code, answer.json()["status"]) == (200, "pending_new")
        assert before == ("pending_new" if ticks else "rejected")
        assert (after["status"], after["filled_qty"]) == ("rejected", "0")
        assert after["failed_at"] is not None

    def test_exits_go_too_when_their_entry_is_rejected_later(self, live: LiveExchange) -> None:
        arm(live, "reject_later", route=SUBMIT)
        exits = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "60"}}
        order = live.order(order_class="bracket", **exits).json()

        live.step(ticks=1)

        nested = live.send("GET", f"/v2/orders/{order['id']}?nested=true").json()
        assert [nested["status"], *(leg["status"] for leg in nested["legs"])] == ["rejected", "canceled", "canceled"]

    def test_fill_is_partial_when_told_so(self, live: LiveExchange) -> None:
        arm(live, "partial_fill", symbol="AAPL", fraction=0.3)
        live.order(client_order_id="one")

        live.step(ticks=1)
        first = look_up(live).json()
        live.step(ticks=1)

        assert (first["status"], first["filled_qty"]) == ("partially_filled", "3")
        assert look_up(live).json()["filled_qty"] == "10"

    def test_rest_of_an_ioc_is_canceled_when_it_filled_in_part(self, live: LiveExchange) -> None:
        arm(live, "partial_fill", fraction=0.3)
        live.order(client_order_id="one", time_in_force="ioc")

        live.step(ticks=1)

        order = look_up(live).json()
        assert (order["status"], order["filled_qty"]) == ("canceled", "3")

    def test_cancel_does_nothing_when_it_is_ignored(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "cancel_ignored", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])

        assert look_up(live).json()["status"] == "new"

    def test_cancel_takes_its_time_when_it_is_pending(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "cancel_pending", route=CANCEL, ticks=2)

        live.trading.cancel_order_by_id(order["id"])

        seen = [look_up(live).json()["status"]]
        for _ in range(2):
            live.step(ticks=1)
            seen.append(look_up(live).json()["status"])
        assert seen == ["pending_cancel", "pending_cancel", "canceled"]

    def test_order_fills_when_the_market_is_quicker_than_its_cancel(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "cancel_pending", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])
        live.step(ticks=1)

        assert look_up(live).json()["status"] == "filled"

    def test_part_that_filled_stays_when_the_rest_is_canceled(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "partial_fill", fraction=0.4)
        arm(live, "cancel_pending", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])
        live.step(ticks=1)

        ended = look_up(live).json()
        assert (ended["status"], ended["filled_qty"]) == ("canceled", "4")

    def test_cancel_never_ends_when_it_is_stuck(self, live: LiveExchange) -> None:
        order = resting(live, time_in_force="gtc")
        arm(live, "cancel_stuck", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])
        live.step(to="close")
        live.step(to="close")

        assert look_up(live).json()["status"] == "pending_cancel"

    def test_cancel_is_refused_when_the_order_has_just_filled(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "cancel_too_late", route=CANCEL)

        with pytest.raises(APIError) as refused:
            live.trading.cancel_order_by_id(order["id"])

        assert str(refused.value) == '{"code":42210000,"message":"order is already in \\"filled\\" state"}'
        assert live.trading.get_open_position("AAPL").qty == "10"

    def test_old_order_fills_when_its_replacement_was_promised(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "replace_pending", route=REPLACE)
        answer = live.send("PATCH", f"/v2/orders/{order['id']}", json={"qty": "20"})
        between = look_up(live).json()["status"]

        live.step(ticks=1)

        new = live.send("GET", f"/v2/orders/{answer.json()['id']}").json()
        assert (answer.status_code, between) == (200, "pending_replace")
        assert (look_up(live).json()["status"], new["status"]) == ("filled", "rejected")
        assert live.trading.get_open_position("AAPL").qty == "10"

    def test_new_order_takes_over_when_the_old_one_did_not_fill(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "replace_pending", route=REPLACE)
        new = live.send("PATCH", f"/v2/orders/{order['id']}", json={"limit_price": "40"}).json()

        live.step(ticks=1)

        old, taken_over = look_up(live).json(), live.send("GET", f"/v2/orders/{new['id']}").json()
        assert (old["status"], old["replaced_by"]) == ("replaced", new["id"])
        assert (taken_over["status"], taken_over["replaces"]) == ("new", order["id"])

    def test_new_order_has_only_the_rest_when_the_old_one_filled_in_part(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "replace_pending", route=REPLACE)
        arm(live, "partial_fill", fraction=0.4)
        new = live.send("PATCH", f"/v2/orders/{order['id']}", json={"qty": "12"}).json()

        live.step(ticks=1)
        taken_over = live.send("GET", f"/v2/orders/{new['id']}").json()
        live.step(ticks=1)

        assert (taken_over["status"], taken_over["qty"]) == ("new", "8")
        assert live.trading.get_open_position("AAPL").qty == "12"

    @pytest.mark.parametrize("method", ["DELETE", "PATCH"])
    def test_change_is_refused_when_a_replacement_is_pending(self, live: LiveExchange, method: str) -> None:
        order = resting(live)
        arm(live, "replace_pending", route=REPLACE)
        live.send("PATCH", f"/v2/orders/{order['id']}", json={"limit_price": "40"})

        answer = live.send(method, f"/v2/orders/{order['id']}", json={"limit_price": "30"})

        assert (answer.status_code, answer.json()["code"]) == (422, 42210000)


class TestReadersThatLagBehind:
    def test_order_is_found_only_later_when_reads_lag(self, live: LiveExchange) -> None:
        arm(live, "read_lag", route="GET /v2/orders*", delay_ms=600, count=None)
        order = live.order(client_order_id="one").json()

        at_once = [look_up(live), live.send("GET", f"/v2/orders/{order['id']}"), live.send("GET", "/v2/orders")]
        time.sleep(0.65)

        assert [answer.status_code for answer in at_once] == [404, 404, 200]
        assert at_once[0].json() == {"code": 40410000, "message": "order not found for one"}
        assert at_once[2].json() == []
        assert look_up(live).status_code == 200

    def test_position_shows_only_later_when_it_lags_behind_the_fill(self, live: LiveExchange) -> None:
        arm(live, "position_lag", route="GET /v2/positions*", delay_ms=600, count=None)
        live.order()
        live.step(ticks=1)

        at_once = live.send("GET", "/v2/positions").json()
        time.sleep(0.65)

        assert at_once == []
        assert [held["qty"] for held in live.send("GET", "/v2/positions").json()] == ["10"]


class TestMarketThatIsNotAsUsual:
    def test_order_waits_when_its_symbol_is_halted(self, live: LiveExchange) -> None:
        live.order(client_order_id="before")
        live.sim("POST", "halt", symbol="AAPL")
        sent = live.order(client_order_id="after").json()
        live.step(ticks=3)
        while_halted = [look_up(live, name).json()["status"] for name in ("before", "after")]

        live.sim("POST", "halt", symbol="AAPL", halted=False)
        live.step(ticks=2)

        assert sent["status"] == "accepted"
        assert while_halted == ["new", "accepted"]
        assert [look_up(live, name).json()["status"] for name in ("before", "after")] == ["filled"] * 2

    def test_day_order_expires_when_the_halt_lasts_to_the_close(self, live: LiveExchange) -> None:
        live.sim("POST", "halt", symbol="AAPL")
        live.order(client_order_id="one")

        live.step(to="close")

        assert look_up(live).json()["status"] == "expired"

    @pytest.mark.parametrize(
        ("kind", "is_so"),
        [
            ("quote_locked", lambda quote: quote["bp"] == quote["ap"]),
            ("quote_crossed", lambda quote: quote["bp"] > quote["ap"]),
            ("quote_stale", lambda quote: quote["t"].startswith("2007-01-03T13:30")),
        ],
    )
    def test_quote_is_odd_when_told_so(self, live: LiveExchange, kind: str, is_so: Any) -> None:
        arm(live, kind, route="GET /v2/stocks/quotes/latest", delay_ms=3_600_000)

        quotes = [live.send("GET", "/v2/stocks/quotes/latest?symbols=AAPL").json()["quotes"] for _ in range(2)]

        assert [is_so(quote["AAPL"]) for quote in quotes] == [True, False]

    def test_bars_are_missing_or_empty_when_told_so(self, live: LiveExchange) -> None:
        path = "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2006-12-01"
        whole = live.send("GET", path).json()["bars"]["AAPL"]
        arm(live, "bars_missing", route="GET /v2/stocks/bars")
        arm(live, "volume_zero", route="GET /v2/stocks/bars")

        gaps, quiet = (live.send("GET", path).json()["bars"]["AAPL"] for _ in range(2))

        assert gaps == whole[::2]
        assert {bar["v"] for bar in quiet} == {0}

    def test_clock_is_wrong_when_it_is_skewed(self, live: LiveExchange) -> None:
        arm(live, "clock_skew", route="GET /v2/clock", delay_ms=-90_000)

        wrong, right = (live.trading.get_clock().timestamp for _ in range(2))

        assert (right - wrong).total_seconds() == 90


class TestAccountInTrouble:
    @pytest.mark.parametrize(
        ("control", "message"),
        [
            ({"trading_blocked": True}, "account is not allowed to trade"),
            ({"account_blocked": True}, "account is blocked"),
        ],
    )
    def test_refuses_every_order_when_it_is_blocked(
        self, holding: LiveExchange, control: dict[str, bool], message: str
    ) -> None:
        holding.sim("PATCH", "account", **control)

        answers = [holding.order(), holding.order(side="sell"), holding.send("DELETE", "/v2/positions/AAPL")]

        assert [(answer.status_code, answer.json()["message"]) for answer in answers] == [(403, message)] * 3
        assert getattr(holding.trading.get_account(), next(iter(control))) is True

    def test_refuses_shorts_when_shorting_is_disabled(self, live: LiveExchange) -> None:
        live.sim("PATCH", "account", shorting_disabled=True)

        answer = live.order(side="sell")

        assert (answer.status_code, answer.json()["message"]) == (403, "account is not allowed to short")
        assert live.trading.get_account().shorting_enabled is False

    def test_position_changes_behind_the_clients_back_when_someone_trades_by_hand(self, holding: LiveExchange) -> None:
        order = holding.sim("POST", "trade", symbol="AAPL", side="sell", qty="4")

        assert (order["status"], order["filled_qty"]) == ("filled", "4")
        assert holding.trading.get_open_position("AAPL").qty == "6"
        assert holding.sim("GET", "ledger")["ok"] is True

    def test_controls_are_kept_when_the_exchange_restarts(self, live: LiveExchange) -> None:
        live.sim("PATCH", "account", trading_blocked=True)
        live.sim("POST", "halt", symbol="MSFT")

        live.restart()

        controls = live.sim("GET", "account")
        assert (controls["trading_blocked"], controls["halted"]) == (True, ["MSFT"])


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
