"""Every method of the unmodified TradingClient: what it answers, or that it is not there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import CorporateActionType, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import (
    AccountConfiguration,
    Asset,
    Calendar,
    Clock,
    ClosePositionResponse,
    CorporateActionAnnouncement,
    Order,
    PortfolioHistory,
    Position,
    TradeAccount,
    Watchlist,
)
from alpaca.trading.requests import (
    CancelOrderResponse,
    ClosePositionRequest,
    CreateWatchlistRequest,
    GetCorporateAnnouncementsRequest,
    GetOptionContractsRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    UpdateWatchlistRequest,
)

from tests.integration.exchange.live import LiveExchange

Call = Callable[[TradingClient, Order], Any]


def resting(**fields: Any) -> LimitOrderRequest:
    body = {"symbol": "AAPL", "qty": 3, "side": OrderSide.BUY, "time_in_force": TimeInForce.GTC, "limit_price": 50}
    return LimitOrderRequest(**(body | fields))


def watchlist(client: TradingClient) -> Any:
    return client.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["AAPL", "MSFT"]))


def announcement(client: TradingClient) -> Any:
    """Return the announcement of a dividend that IBM paid shortly before."""
    span = {"since": date(2006, 11, 1), "until": date(2006, 11, 30)}
    wanted = GetCorporateAnnouncementsRequest(ca_types=[CorporateActionType.DIVIDEND], symbol="IBM", **span)
    return client.get_corporate_announcements(wanted)[0]


# What each method returns, given a client and an order that rests; ten shares of AAPL are held.
CALLS: dict[str, tuple[Call, type]] = {
    "submit_order": (
        lambda client, _: client.submit_order(
            MarketOrderRequest(symbol="IBM", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
        ),
        Order,
    ),
    "get_orders": (lambda client, _: client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))[0], Order),
    "get_order_by_id": (lambda client, order: client.get_order_by_id(order.id), Order),
    "get_order_by_client_id": (lambda client, order: client.get_order_by_client_id(order.client_order_id), Order),
    "replace_order_by_id": (
        lambda client, order: client.replace_order_by_id(order.id, ReplaceOrderRequest(qty=4, limit_price=51)),
        Order,
    ),
    "cancel_orders": (lambda client, _: client.cancel_orders()[0], CancelOrderResponse),
    "cancel_order_by_id": (lambda client, order: client.cancel_order_by_id(order.id), type(None)),
    "get_all_positions": (lambda client, _: client.get_all_positions()[0], Position),
    "get_open_position": (lambda client, _: client.get_open_position("AAPL"), Position),
    "close_all_positions": (
        lambda client, _: client.close_all_positions(cancel_orders=True)[0],
        ClosePositionResponse,
    ),
    "close_position": (
        lambda client, _: (client.cancel_orders(), client.close_position("AAPL", ClosePositionRequest(qty="4")))[1],
        Order,
    ),
    "get_portfolio_history": (
        lambda client, _: client.get_portfolio_history(GetPortfolioHistoryRequest(timeframe="1H", period="1W")),
        PortfolioHistory,
    ),
    "get_account": (lambda client, _: client.get_account(), TradeAccount),
    "get_account_configurations": (lambda client, _: client.get_account_configurations(), AccountConfiguration),
    "set_account_configurations": (
        lambda client, _: client.set_account_configurations(client.get_account_configurations()),
        AccountConfiguration,
    ),
    "get_all_assets": (lambda client, _: client.get_all_assets()[0], Asset),
    "get_asset": (lambda client, _: client.get_asset("AAPL"), Asset),
    "get_clock": (lambda client, _: client.get_clock(), Clock),
    "get_calendar": (lambda client, _: client.get_calendar()[0], Calendar),
    "create_watchlist": (lambda client, _: watchlist(client), Watchlist),
    "get_watchlists": (lambda client, _: (watchlist(client), client.get_watchlists()[0])[1], Watchlist),
    "get_watchlist_by_id": (lambda client, _: client.get_watchlist_by_id(watchlist(client).id), Watchlist),
    "update_watchlist_by_id": (
        lambda client, _: client.update_watchlist_by_id(watchlist(client).id, UpdateWatchlistRequest(name="other")),
        Watchlist,
    ),
    "add_asset_to_watchlist_by_id": (
        lambda client, _: client.add_asset_to_watchlist_by_id(watchlist(client).id, "IBM"),
        Watchlist,
    ),
    "remove_asset_from_watchlist_by_id": (
        lambda client, _: client.remove_asset_from_watchlist_by_id(watchlist(client).id, "AAPL"),
        Watchlist,
    ),
    "delete_watchlist_by_id": (
        lambda client, _: client.delete_watchlist_by_id(watchlist(client).id),
        type(None),
    ),
    "get_corporate_announcements": (lambda client, _: announcement(client), CorporateActionAnnouncement),
    "get_corporate_announcement_by_id": (
        lambda client, _: client.get_corporate_announcement_by_id(announcement(client).id),
        CorporateActionAnnouncement,
    ),
}
# Options are not simulated, and say so.
ABSENT: dict[str, Call] = {
    "exercise_options_position": lambda client, _: client.exercise_options_position("AAPL240119C00100000"),
    "get_option_contracts": lambda client, _: client.get_option_contracts(GetOptionContractsRequest()),
    "get_option_contract": lambda client, _: client.get_option_contract("AAPL240119C00100000"),
}
# What the methods themselves are made of.
BASE = {name for name, _ in inspect.getmembers(RESTClient, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("name", CALLS)
def test_method_returns_what_its_type_says(holding: LiveExchange, name: str) -> None:
    order = holding.trading.submit_order(resting(client_order_id="resting"))
    call, kind = CALLS[name]

    assert isinstance(call(holding.trading, order), kind)


@pytest.mark.parametrize("name", ABSENT)
def test_method_for_options_is_answered_with_501(holding: LiveExchange, name: str) -> None:
    order = holding.trading.submit_order(resting())

    with pytest.raises(APIError) as refused:
        ABSENT[name](holding.trading, order)

    assert refused.value.status_code == 501
    assert "not simulated by the paper exchange" in str(refused.value)


def test_every_method_of_the_client_is_accounted_for() -> None:
    public = {name for name, _ in inspect.getmembers(TradingClient, inspect.isfunction) if not name.startswith("_")}

    assert public == {*CALLS, *ABSENT, *BASE}


class TestDetails:
    def test_answer_to_cancelling_all_names_each_with_its_status(self, live: LiveExchange) -> None:
        orders = [live.trading.submit_order(resting(qty=number)) for number in (1, 2)]
        live.sim("POST", "faults", kind="replace_pending", route="PATCH /v2/orders/{order_id}", ticks=9)
        live.trading.replace_order_by_id(orders[0].id, ReplaceOrderRequest(limit_price=49))

        answer = live.send("DELETE", "/v2/orders")

        rows = {row["id"]: row for row in answer.json()}
        assert answer.status_code == 207
        assert rows[str(orders[1].id)] == {"id": str(orders[1].id), "status": 200}
        refused = rows[str(orders[0].id)]
        assert (refused["status"], refused["body"]["code"]) == (422, 42210000)

    def test_answer_to_closing_all_has_an_order_or_a_refusal_for_each(self, holding: LiveExchange) -> None:
        holding.order(symbol="IBM")
        holding.step(ticks=1)
        holding.order(symbol="IBM", side="sell", type="limit", limit_price="500")

        answer = holding.send("DELETE", "/v2/positions")

        rows = {row["symbol"]: row for row in answer.json()}
        assert answer.status_code == 207
        assert (rows["AAPL"]["status"], rows["AAPL"]["body"]["side"]) == (200, "sell")
        assert (rows["IBM"]["status"], rows["IBM"]["body"]["held_for_orders"]) == (403, "10")

    def test_requests_carry_numbers_and_answers_carry_texts(self, live: LiveExchange) -> None:
        answer = live.send("POST", "/v2/orders", json={**_body(), "qty": 1.5, "limit_price": 86})

        body = answer.json()
        assert (body["qty"], body["limit_price"], body["filled_qty"]) == ("1.5", "86", "0")
        assert UUID(body["id"])
        assert all(body[name] is not None for name in ("created_at", "updated_at", "submitted_at"))

    def test_orders_without_an_id_get_one(self, live: LiveExchange) -> None:
        bodies = [live.send("POST", "/v2/orders", json=_body()).json() for _ in range(2)]

        assert len({body["client_order_id"] for body in bodies}) == 2

    @pytest.mark.parametrize("length", [1, 48, 128])
    def test_client_order_id_is_kept_as_it_is(self, live: LiveExchange, length: int) -> None:
        name = ("naïve id/" * 20)[:length]
        order = live.trading.submit_order(resting(client_order_id=name))

        assert live.trading.get_order_by_client_id(name).id == order.id

    def test_whole_order_is_replaced_and_keeps_what_was_not_changed(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(resting())
        change = ReplaceOrderRequest(qty=9, time_in_force=TimeInForce.DAY, client_order_id="next")

        new = live.trading.replace_order_by_id(order.id, change)

        assert (new.qty, new.limit_price, new.time_in_force, new.client_order_id, new.replaces) == (
            "9",
            "50",
            TimeInForce.DAY,
            "next",
            order.id,
        )
        assert live.trading.get_order_by_id(order.id).status is OrderStatus.REPLACED

    def test_position_is_found_under_its_pair_and_without_the_slash_when_there_is_none(
        self, live: LiveExchange
    ) -> None:
        for name in ("BTC/USD", "BTC%2FUSD", "BTCUSD"):
            answer = live.send("GET", f"/v2/positions/{name}")

            assert (answer.status_code, answer.json()) == (
                404,
                {"code": 40410000, "message": "position does not exist"},
            )


class TestSimulatorWithoutAToken:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "clock"),
            ("POST", "step"),
            ("POST", "price"),
            ("GET", "faults"),
            ("POST", "faults"),
            ("DELETE", "faults"),
            ("POST", "halt"),
            ("POST", "profile"),
            ("GET", "account"),
            ("PATCH", "account"),
            ("GET", "accounts"),
            ("POST", "accounts"),
            ("POST", "trade"),
            ("POST", f"orders/{UUID(int=1)}/status"),
            ("GET", "ledger"),
        ],
    )
    @pytest.mark.parametrize("token", ["", "admin", "None"])
    def test_control_does_not_exist(self, tokenless: LiveExchange, method: str, path: str, token: str) -> None:
        answer = requests.request(
            method, f"{tokenless.url}/_sim/{path}", headers={"X-Sim-Token": token}, json={"to": "open"}, timeout=5
        )

        assert (answer.status_code, answer.json()) == (404, {"message": "not found"})

    def test_trading_goes_on_as_ever(self, tokenless: LiveExchange) -> None:
        assert tokenless.trading.get_account().cash == "100000"


@pytest.fixture(scope="module")
def tokenless(tmp_path_factory: pytest.TempPathFactory, tape: Any) -> Any:
    """An exchange that was started without an admin token; no test changes it."""
    live = LiveExchange(tmp_path_factory.mktemp("tokenless"), tape, admin_token=None)
    yield live
    live.stop()


def _body() -> dict[str, Any]:
    return {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "limit", "limit_price": 50, "time_in_force": "day"}
