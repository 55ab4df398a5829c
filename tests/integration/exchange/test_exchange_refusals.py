"""Every refusal: its status code and its body, as Alpaca sends them."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.exchange.live import LiveExchange

LIMIT = {"type": "limit"}
BRACKET = {"order_class": "bracket"}
SHORT = {"symbol": "AAPL", "qty": "1", "side": "sell", "type": "market", "time_in_force": "day"}
EXITS = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "60"}}


class TestMalformedOrder:
    @pytest.mark.parametrize(
        ("fields", "code", "message"),
        [
            ({"symbol": None}, 40010001, "symbol is required"),
            ({"symbol": 7}, 40010001, "invalid symbol"),
            ({"symbol": "NOPE"}, 42210000, 'could not find asset "NOPE"'),
            ({"symbol": "FB"}, 42210000, 'asset "FB" is not active'),  # listed in 2012
            ({"qty": None}, 40010001, "qty is required"),
            ({"qty": "0"}, 40010001, "qty must be > 0"),
            ({"qty": "-1"}, 40010001, "qty must be > 0"),
            ({"qty": "NaN"}, 40010001, "invalid qty"),
            ({"qty": "Infinity"}, 40010001, "invalid qty"),
            ({"qty": "ten"}, 40010001, "invalid qty"),
            ({"qty": True}, 40010001, "invalid qty"),
            ({"qty": "1e999999"}, 40010001, "qty is too large"),
            ({"qty": "1000000000000"}, 40010001, "qty is too large"),
            ({"qty": "1e-10"}, 40010001, "qty increment must be at least 0.000000001"),
            ({"side": "hold"}, 40010001, "invalid side"),
            ({"side": None}, 40010001, "side is required"),
            ({"type": "magic"}, 40010001, "invalid type"),
            ({"time_in_force": "soon"}, 40010001, "invalid time_in_force"),
            ({"order_class": ["simple"]}, 40010001, "invalid order_class"),
            (LIMIT, 40010001, "limit orders require limit_price"),
            ({"type": "stop"}, 40010001, "stop orders require stop_price"),
            ({"limit_price": "10"}, 40010001, "market orders must not have limit_price"),
            ({"client_order_id": "x" * 129}, 40010001, "client_order_id must be at most 128 characters"),
            (LIMIT | {"limit_price": "-5"}, 42210000, "limit_price must be > 0"),
            (
                LIMIT | {"limit_price": "290.123"},
                42210000,
                "invalid limit_price 290.123. "
                "sub-penny increment does not fulfill minimum pricing criteria",
            ),
            (
                LIMIT | {"limit_price": 0.1 + 0.2},
                42210000,
                "invalid limit_price 0.30000000000000004. "
                "sub-penny increment does not fulfill minimum pricing criteria",
            ),
            (BRACKET, 42210000, "bracket orders require take_profit.limit_price"),
            (EXITS, 42210000, "simple orders cannot have take_profit or stop_loss"),
            ({"order_class": "oto"} | EXITS, 42210000, "oto orders require either take_profit or stop_loss"),
            (BRACKET | EXITS | {"time_in_force": "ioc"}, 42210000, "invalid time_in_force ioc for bracket orders"),
            (BRACKET | {"stop_loss": 5}, 40010001, "invalid stop_loss"),
            ({"qty": "1.5", "time_in_force": "gtc"}, 42210000, "fractional orders must be DAY orders"),
            ({"qty": "1.5", "side": "sell"}, 42210000, "fractional orders cannot be sold short"),
            (
                {"position_intent": "sell_to_close"},
                42210000,
                "position intent mismatch, inferred: buy_to_open, specified: sell_to_close",
            ),
        ],
    )  # fmt: skip
    def test_answers_422_when_a_field_is_wrong(
        self, live: LiveExchange, fields: dict[str, Any], code: int, message: str
    ) -> None:
        answer = live.order(**fields)

        assert answer.status_code == 422
        assert answer.json() == {"code": code, "message": message}
        assert live.sim("GET", "ledger")["order_count"] == 0

    @pytest.mark.parametrize("body", ["", "nonsense", "[]", '{"qty": NaN}', '"text"', "[" * 5000])
    def test_answers_400_when_the_body_is_not_a_json_object(self, live: LiveExchange, body: Any) -> None:
        answer = live.send("POST", "/v2/orders", data=body)

        assert answer.status_code == 400
        assert answer.json() == {"code": 40010000, "message": "request body format is invalid"}

    def test_answers_501_when_it_is_an_order_for_options(self, live: LiveExchange) -> None:
        answer = live.order(order_class="mleg")

        assert answer.status_code == 501
        assert answer.json() == {"message": "not simulated by the paper exchange: order_class mleg"}

    @pytest.mark.parametrize(
        ("exits", "message"),
        [
            # the market trades at 86.29
            ({"take_profit": {"limit_price": "80"}}, "take_profit.limit_price must be >= base_price + 0.01"),
            ({"stop_loss": {"stop_price": "90"}}, "stop_loss.stop_price must be <= base_price - 0.01"),
        ],
    )  # fmt: skip
    def test_answers_422_when_an_exit_lies_on_the_wrong_side(
        self, live: LiveExchange, exits: dict[str, Any], message: str
    ) -> None:
        answer = live.order(**(BRACKET | EXITS | exits))

        assert answer.status_code == 422
        assert answer.json() == {"code": 42210000, "message": message, "base_price": "86.29"}


class TestOrderThatTheAccountMayNotPlace:
    @pytest.mark.parametrize("advance", [None, {"ticks": 1}, {"to": "open"}])
    def test_answers_422_when_the_client_order_id_was_used_before(
        self, live: LiveExchange, advance: dict[str, Any] | None
    ) -> None:
        assert live.order(client_order_id="once").status_code == 200
        if advance:
            live.step(**advance)

        answer = live.order(client_order_id="once")

        assert answer.status_code == 422
        assert answer.json() == {"code": 40010001, "message": "client_order_id must be unique"}

    def test_names_the_holding_order_when_the_shares_are_not_free(self, holding: LiveExchange) -> None:
        resting = holding.order(side="sell", type="limit", limit_price="500", qty="4").json()

        answer = holding.order(side="sell", qty="7")

        assert answer.status_code == 403
        assert answer.json() == {
            "available": "6",
            "code": 40310000,
            "existing_qty": "10",
            "held_for_orders": "4",
            "message": "insufficient qty available for order (requested: 7, available: 6)",
            "related_orders": [resting["id"]],
            "symbol": "AAPL",
        }

    def test_states_what_is_left_when_buying_power_is_short(self, live: LiveExchange) -> None:
        answer = live.order(qty="100000")

        body = answer.json()
        assert answer.status_code == 403
        assert body.pop("cost_basis") == "8630000"
        assert body == {
            "buying_power": "400000",
            "code": 40310000,
            "message": "insufficient buying power",
        }

    def test_counts_resting_purchases_when_buying_power_is_judged(self, live: LiveExchange) -> None:
        assert live.order(type="limit", limit_price="10", qty="39000").status_code == 200

        assert live.order(qty="200").json()["buying_power"] == "10000"

    def test_refuses_shorts_when_the_account_is_long_only(self, live: LiveExchange) -> None:
        live.send("PATCH", "/v2/account/configurations", json={"no_shorting": True})

        answer = live.order(side="sell")

        assert answer.status_code == 403
        assert answer.json() == {"code": 40310000, "message": "account is not allowed to short"}

    def test_refuses_exits_too_when_the_user_suspended_trading(self, holding: LiveExchange) -> None:
        holding.send("PATCH", "/v2/account/configurations", json={"suspend_trade": True})
        refusal = {"code": 40310000, "message": "new orders are rejected by user request"}

        answers = [holding.order(side="sell"), holding.send("DELETE", "/v2/positions/AAPL")]

        assert [(answer.status_code, answer.json()) for answer in answers] == [(403, refusal)] * 2

    def test_names_the_other_order_when_two_would_trade_with_each_other(self, live: LiveExchange) -> None:
        resting = live.order(type="limit", limit_price="10").json()

        answer = live.order(side="sell")

        assert answer.status_code == 403
        assert answer.json() == {
            "code": 40310000,
            "existing_order_id": resting["id"],
            "message": "potential wash trade detected. use complex orders",
            "reject_reason": "opposite side market/stop order exists",
        }

    @pytest.mark.parametrize(
        ("resting", "sent", "prices"),
        [
            # held ten shares; a limit to sell them rests, and a purchase would meet it
            (("sell", "100"), ("buy", "100"), ("100", "100")),
            (("sell", "100"), ("buy", "101"), ("101", "100")),
            (("buy", "50"), ("sell", "50"), ("50", "50")),
        ],
    )
    def test_states_both_prices_when_two_limits_would_meet(
        self, holding: LiveExchange, resting: tuple[str, str], sent: tuple[str, str], prices: tuple[str, str]
    ) -> None:
        first = holding.order(side=resting[0], type="limit", limit_price=resting[1], qty="2").json()

        answer = holding.order(side=sent[0], type="limit", limit_price=sent[1], qty="2")

        reasons = {
            "sell": "sell order exists, buy limit price should be less than existing sell limit price",
            "buy": "buy order exists, sell limit price should be greater than existing buy limit price",
        }
        assert answer.status_code == 403
        assert answer.json() == {
            "code": 40310000,
            "message": "potential wash trade detected. use complex orders",
            "existing_order_id": first["id"],
            "buy_limit_price": prices[0],
            "sell_limit_price": prices[1],
            "reject_reason": reasons[resting[0]],
        }

    def test_lets_two_limits_rest_when_they_cannot_meet(self, holding: LiveExchange) -> None:
        answers = [
            holding.order(side="sell", type="limit", limit_price="100", qty="2"),
            holding.order(side="buy", type="limit", limit_price="99", qty="2"),
        ]

        assert [answer.status_code for answer in answers] == [200, 200]

    def test_refuses_a_purchase_when_a_stop_rests_and_lets_it_through_when_the_stop_is_of_a_group(
        self, holding: LiveExchange
    ) -> None:
        stop = holding.order(side="sell", type="stop", stop_price="60").json()
        beside_a_stop = holding.order()
        holding.trading.cancel_order_by_id(stop["id"])
        exits = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "60"}}
        holding.order(side="sell", type="limit", order_class="oco", **exits)

        assert beside_a_stop.json()["reject_reason"] == "opposite side market/stop order exists"
        assert holding.order().status_code == 200

    def test_lets_a_trailing_stop_rest_beside_a_purchase(self, holding: LiveExchange) -> None:
        stop = holding.order(side="sell", type="trailing_stop", trail_percent="5", qty="2")

        assert [stop.status_code, holding.order(qty="1").status_code] == [200, 200]

    @pytest.mark.parametrize(
        ("resting", "sent", "message"),
        [
            (("buy", "50"), ("sell", "120"), "cannot open a short sell while a long buy order is open"),
            (("sell", "120"), ("buy", "50"), "cannot open a long buy while a short sell order is open"),
        ],
    )
    def test_refuses_to_open_both_ways_even_where_the_two_could_not_meet(
        self, live: LiveExchange, resting: tuple[str, str], sent: tuple[str, str], message: str
    ) -> None:
        first, second = (live.order(side=side, type="limit", limit_price=price) for side, price in (resting, sent))

        assert first.status_code == 200
        assert (second.status_code, second.json()) == (403, {"code": 40310000, "message": message})

    @pytest.mark.parametrize(
        ("controls", "fields", "status", "body"),
        [
            (
                {"not_shortable": ["AAPL"]},
                {},
                422,
                {"code": 42210000, "message": 'asset "AAPL" cannot be sold short'},
            ),
            (
                {"hard_to_borrow": ["AAPL"]},
                {"time_in_force": "gtc"},
                403,
                {"code": 40310000, "message": "only day orders are allowed for hard-to-borrow asset AAPL"},
            ),
        ],
    )
    def test_refuses_a_short_when_the_asset_has_none_to_lend(
        self, live: LiveExchange, controls: dict[str, Any], fields: dict[str, Any], status: int, body: dict[str, Any]
    ) -> None:
        live.sim("PATCH", "account", **controls)

        answer = live.order(side="sell", **fields)

        assert (answer.status_code, answer.json()) == (status, body)

    def test_refuses_a_short_when_the_account_is_too_small(self, live: LiveExchange) -> None:
        live.sim("POST", "accounts", key_id="PKSMALL", secret_key="s", cash="1999")
        headers = {"APCA-API-KEY-ID": "PKSMALL", "APCA-API-SECRET-KEY": "s"}

        answer = live.send("POST", "/v2/orders", json=SHORT, headers=headers)

        assert (answer.status_code, answer.json()["message"]) == (403, "account is not allowed to short")

    @pytest.mark.parametrize(("phase", "basis"), [("open", "ask"), ("pre_open", "middle")])
    def test_counts_a_purchase_at_the_price_of_the_hour(
        self, closed_market: LiveExchange, phase: str, basis: str
    ) -> None:
        closed_market.step(to=phase)
        quote = closed_market.send("GET", "/v2/stocks/quotes/latest?symbols=AAPL").json()["quotes"]["AAPL"]
        ask, bid = (Decimal(str(quote[side])) for side in ("ap", "bp"))

        answer = closed_market.order(qty="10000")

        price = {"ask": ask, "middle": (ask + bid) / 2}[basis]
        assert Decimal(answer.json()["cost_basis"]) == 10_000 * price

    def test_refuses_a_bracket_when_it_would_close(self, holding: LiveExchange) -> None:
        exits = {"take_profit": {"limit_price": "60"}, "stop_loss": {"stop_price": "120"}}

        answer = holding.order(side="sell", qty="5", **(BRACKET | exits))

        assert answer.json()["message"] == "bracket orders must be entry orders"


class TestUnknownOrder:
    @pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
    def test_answers_404_when_no_order_has_that_id(self, live: LiveExchange, method: str) -> None:
        order_id = uuid.uuid4()

        answer = live.send(method, f"/v2/orders/{order_id}", json={"qty": "1"})

        assert answer.status_code == 404
        assert answer.json() == {"code": 40410000, "message": f"order not found for {order_id}"}

    def test_answers_422_when_the_id_is_no_uuid(self, live: LiveExchange) -> None:
        assert live.send("GET", "/v2/orders/nonsense").status_code == 422

    def test_answers_404_when_no_order_has_that_client_id(self, live: LiveExchange) -> None:
        answer = live.send("GET", "/v2/orders:by_client_order_id?client_order_id=nobody")

        assert (answer.status_code, answer.json()["code"]) == (404, 40410000)


class TestListRequest:
    @pytest.mark.parametrize(
        "query",
        ["status=half", "limit=0", "limit=x", "direction=up", "after=yesterday", "nested=2"],
    )
    def test_answers_422_when_a_parameter_is_wrong(self, live: LiveExchange, query: str) -> None:
        assert live.send("GET", f"/v2/orders?{query}").status_code == 422
