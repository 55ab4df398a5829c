"""Several accounts by key pair: apart in everything but the market and its clock."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from tests.integration.exchange.live import LiveExchange


def open_account(live: LiveExchange, key_id: str = "PKSECOND", secret: str = "hush", **fields: Any) -> TradingClient:
    live.sim("POST", "accounts", key_id=key_id, secret_key=secret, **fields)
    return live.client(key_id, secret)


def buy(client: TradingClient, **fields: Any) -> Any:
    body = {"symbol": "AAPL", "qty": 5, "side": OrderSide.BUY, "time_in_force": TimeInForce.DAY}
    return client.submit_order(MarketOrderRequest(**(body | fields)))


class TestSecondAccount:
    def test_has_orders_and_money_of_its_own(self, live: LiveExchange) -> None:
        second = open_account(live, cash="25000")
        first_order, second_order = buy(live.trading), buy(second, qty=7)

        live.step(ticks=1)

        assert [order.id for order in second.get_orders()] == []
        assert [held.qty for held in live.trading.get_all_positions()] == ["5"]
        assert [held.qty for held in second.get_all_positions()] == ["7"]
        assert Decimal(second.get_account().cash) < 25_000 < Decimal(live.trading.get_account().cash)
        assert first_order.id != second_order.id

    def test_may_use_the_same_client_order_id(self, live: LiveExchange) -> None:
        second = open_account(live)

        orders = [buy(client, client_order_id="one") for client in (live.trading, second)]

        assert [order.client_order_id for order in orders] == ["one", "one"]

    def test_cannot_see_or_cancel_the_orders_of_the_first(self, live: LiveExchange) -> None:
        second = open_account(live)
        order = buy(live.trading)

        with pytest.raises(APIError) as unseen:
            second.get_order_by_id(order.id)
        second.cancel_orders()

        assert unseen.value.status_code == 404
        assert live.trading.get_order_by_id(order.id).status == "new"

    def test_is_halted_and_walks_the_night_with_the_first(self, live: LiveExchange) -> None:
        second = open_account(live)
        live.step(to="close")
        resting = LimitOrderRequest(
            symbol="AAPL",
            qty=1,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
            limit_price=200,
            extended_hours=True,
        )
        order = second.submit_order(resting)

        live.step(ticks=1)

        assert second.get_order_by_id(order.id).status == "filled"
        assert second.get_clock().timestamp == live.trading.get_clock().timestamp
        live.step(to="open")
        assert second.get_clock().is_open

    def test_is_still_there_when_the_exchange_restarts(self, live: LiveExchange) -> None:
        second = open_account(live)
        buy(second)
        live.step(ticks=1)

        live.restart()

        again = live.client("PKSECOND", "hush")
        assert [held.qty for held in again.get_all_positions()] == ["5"]

    def test_has_new_keys_when_they_are_rotated(self, live: LiveExchange) -> None:
        old = open_account(live)
        new = open_account(live, secret="other")

        with pytest.raises(APIError) as refused:
            old.get_account()

        assert refused.value.status_code == 403
        assert new.get_account().cash == "100000"

    def test_has_a_rate_limit_of_its_own(self, start_exchange: Any) -> None:
        live = start_exchange(rate_limit=2)
        second = open_account(live)
        for _ in range(3):
            live.send("GET", "/v2/clock")

        assert second.get_account().cash == "100000"

    def test_is_chosen_by_name_for_the_simulators_controls(self, live: LiveExchange) -> None:
        open_account(live)
        headers = {"X-Sim-Token": "admin", "X-Sim-Account": "PKSECOND"}
        requests.patch(f"{live.url}/_sim/account", json={"trading_blocked": True}, headers=headers, timeout=5)

        assert live.client("PKSECOND", "hush").get_account().trading_blocked is True
        assert live.trading.get_account().trading_blocked is False

    @pytest.mark.parametrize(
        "body",
        [
            {"key_id": "../../x", "secret_key": "s"},
            {"key_id": "PKSECOND", "secret_key": ""},
            {"key_id": "PKTEST", "secret_key": "taken"},
            {"key_id": "PKSECOND", "secret_key": "s", "cash": "lots"},
        ],
    )
    def test_is_not_opened_when_its_keys_make_no_sense(self, live: LiveExchange, body: dict[str, str]) -> None:
        answer = requests.post(f"{live.url}/_sim/accounts", json=body, headers={"X-Sim-Token": "admin"}, timeout=5)

        assert answer.status_code == 422
        assert len(live.sim("GET", "accounts")) == 1


class TestHistory:
    def test_follows_the_price_through_the_day_when_shares_are_held(self, holding: LiveExchange) -> None:
        holding.step(minutes=60)

        history = holding.trading.get("/account/portfolio/history", {"period": "1D", "timeframe": "5Min"})

        assert len(history["equity"]) == len(history["timestamp"]) == 14
        assert history["equity"][-1] == float(holding.trading.get_account().equity)
        assert history["profit_loss"][0] == 0

    def test_by_the_minute_passes_through_the_points_of_five_minutes(self, holding: LiveExchange) -> None:
        holding.order(symbol="BTC/USD", time_in_force="gtc", qty="0.1")
        holding.step(minutes=30)
        fine, coarse = (
            holding.trading.get("/account/portfolio/history", {"period": "1D", "timeframe": timeframe})
            for timeframe in ("1Min", "5Min")
        )

        by_time = dict(zip(fine["timestamp"], fine["equity"], strict=True))

        assert {later - now for now, later in pairwise(fine["timestamp"])} == {60}
        assert len(fine["equity"]) == len(coarse["equity"]) * 5 - 4
        assert [by_time[at] for at in coarse["timestamp"]] == coarse["equity"]
        assert len(set(fine["equity"])) > len(coarse["equity"])

    def test_has_every_fourth_of_an_hour_when_asked(self, holding: LiveExchange) -> None:
        holding.step(to="close")

        history = holding.trading.get("/account/portfolio/history", {"timeframe": "15Min", "period": "1W"})

        assert len(history["equity"]) == 27
        assert {later - now for now, later in zip(history["timestamp"], history["timestamp"][1:], strict=False)} == {
            900
        }

    @pytest.mark.parametrize(
        ("query", "status"),
        [("timeframe=2Min", 422), ("timeframe=2H", 422), ("period=soon", 422), ("start=never", 422)],
    )
    def test_is_refused_when_the_request_is_wrong(self, live: LiveExchange, query: str, status: int) -> None:
        assert live.send("GET", f"/v2/account/portfolio/history?{query}").status_code == status


class TestActivityKinds:
    def test_are_only_those_of_the_category(self, holding: LiveExchange) -> None:
        trades = holding.trading.get("/account/activities", {"category": "trade_activity"})
        others = holding.trading.get("/account/activities", {"category": "non_trade_activity"})

        assert [row["activity_type"] for row in trades] == ["FILL"]
        assert others == []

    def test_are_refused_when_the_category_is_unknown(self, live: LiveExchange) -> None:
        assert live.send("GET", "/v2/account/activities?category=gossip").status_code == 422
