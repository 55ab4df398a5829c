"""Alpaca's error bodies as they were reported, one request for each, to the letter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.integration.exchange.live import LiveExchange

Answer = tuple[int, dict[str, Any]]


def forbidden(message: str, **details: object) -> Answer:
    return 403, {"code": 40310000, "message": message} | details


def unprocessable(message: str) -> Answer:
    return 422, {"code": 42210000, "message": message}


def coins(live: LiveExchange, **fields: Any) -> requests.Response:
    return live.order(**({"symbol": "ETH/USD", "qty": "1", "time_in_force": "gtc"} | fields))


def twice(live: LiveExchange, **fields: Any) -> requests.Response:
    live.order(**fields)
    return live.order(**fields)


def after(live: LiveExchange, controls: dict[str, Any], **fields: Any) -> requests.Response:
    live.sim("PATCH", "account", **controls)
    return live.order(**fields)


def suspended(live: LiveExchange) -> requests.Response:
    live.send("PATCH", "/v2/account/configurations", json={"suspend_trade": True})
    return live.order()


def canceled_too_late(live: LiveExchange) -> requests.Response:
    order = live.order().json()
    live.step(ticks=1)
    return live.send("DELETE", f"/v2/orders/{order['id']}")


def sold_too_much(live: LiveExchange) -> requests.Response:
    coins(live)
    live.step(ticks=1)
    return coins(live, side="sell")


def sent_without_keys(live: LiveExchange) -> requests.Response:
    return requests.get(f"{live.url}/v2/account", timeout=5)


SUB_PENNY = "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria"
TOO_MUCH = "insufficient qty available for order (requested: 10.5, available: 10)"
HELD = {"available": "10", "existing_qty": "10", "held_for_orders": "0", "symbol": "AAPL"}

# Ten shares of AAPL are held.
CASES: list[tuple[str, Callable[[LiveExchange], requests.Response], Answer]] = [
    (
        "duplicate client_order_id",
        lambda live: twice(live, client_order_id="one"),
        (422, {"code": 40010001, "message": "client_order_id must be unique"}),
    ),
    ("sell more than free", lambda live: live.order(side="sell", qty="10.5"), forbidden(TOO_MUCH, **HELD)),
    (
        "not fractionable",
        lambda live: after(live, {"not_fractionable": ["IBM"]}, symbol="IBM", qty="0.5"),
        forbidden('asset "IBM" is not fractionable'),
    ),
    (
        "account may not short",
        lambda live: after(live, {"shorting_disabled": True}, symbol="IBM", side="sell"),
        forbidden("account is not allowed to short"),
    ),
    (
        "asset not shortable",
        lambda live: after(live, {"not_shortable": ["IBM"]}, symbol="IBM", side="sell"),
        unprocessable('asset "IBM" cannot be sold short'),
    ),
    (
        "fraction sold short",
        lambda live: live.order(symbol="IBM", side="sell", qty="0.5"),
        unprocessable("fractional orders cannot be sold short"),
    ),
    (
        "hard to borrow",
        lambda live: after(live, {"hard_to_borrow": ["IBM"]}, symbol="IBM", side="sell", time_in_force="gtc"),
        forbidden("only day orders are allowed for hard-to-borrow asset IBM"),
    ),
    ("user suspended", suspended, forbidden("new orders are rejected by user request")),
    ("sub-penny", lambda live: live.order(type="limit", limit_price=290.123), unprocessable(SUB_PENNY)),
    (
        "crypto time in force",
        lambda live: coins(live, time_in_force="day"),
        unprocessable("invalid crypto time_in_force"),
    ),
    (
        "crypto minimum",
        lambda live: coins(live, qty="0.0001"),
        forbidden("cost basis must be >= minimal amount of order 10"),
    ),
    (
        "crypto balance",
        sold_too_much,
        forbidden("insufficient balance for ETH (requested: 1, available: 0.9975)"),
    ),
    (
        "cancel lost the race",
        canceled_too_late,
        unprocessable('order is already in "filled" state'),
    ),
    (
        "no position",
        lambda live: live.send("GET", "/v2/positions/IBM"),
        (404, {"code": 40410000, "message": "position does not exist"}),
    ),
    (
        "bad id",
        lambda live: live.send("GET", "/v2/orders/nonsense"),
        (422, {"code": 40010001, "message": "order_id is missing"}),
    ),
    (
        "missing field",
        lambda live: live.order(qty=None),
        (422, {"code": 40010001, "message": "qty is required"}),
    ),
    (
        "bad body",
        lambda live: live.send("POST", "/v2/orders", data="{"),
        (400, {"code": 40010000, "message": "request body format is invalid"}),
    ),
    ("no keys", sent_without_keys, (401, {"message": "unauthorized."})),
    (
        "wrong keys",
        lambda live: live.send("GET", "/v2/account", headers={"APCA-API-SECRET-KEY": "wrong"}),
        (403, {"message": "forbidden."}),
    ),
]


@pytest.mark.parametrize(("send", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refusal_is_the_one_of_alpaca(
    holding: LiveExchange, send: Callable[[LiveExchange], requests.Response], expected: Answer
) -> None:
    answer = send(holding)

    assert (answer.status_code, answer.json()) == expected


def test_refusal_for_want_of_buying_power_states_what_there_is_and_what_it_costs(live: LiveExchange) -> None:
    power = live.trading.get_account().buying_power
    ask = live.send("GET", "/v2/stocks/quotes/latest?symbols=AAPL").json()["quotes"]["AAPL"]["ap"]

    answer = live.order(qty="1000000")

    cost = f"{round(ask * 100)}0000"
    expected = forbidden("insufficient buying power", buying_power=power, cost_basis=cost)
    assert (answer.status_code, answer.json()) == expected


@pytest.mark.parametrize("kind", [{}, {"type": "stop", "stop_price": "60"}])
def test_refusal_of_a_wash_trade_names_the_market_or_stop_order(holding: LiveExchange, kind: dict[str, str]) -> None:
    resting = holding.order(side="sell", qty="1", **kind).json()

    answer = holding.order()

    reason = "opposite side market/stop order exists"
    expected = forbidden(
        "potential wash trade detected. use complex orders", existing_order_id=resting["id"], reject_reason=reason
    )
    assert (answer.status_code, answer.json()) == expected


def test_refusal_of_a_wash_trade_states_both_limits(holding: LiveExchange) -> None:
    resting = holding.order(side="sell", qty="1", type="limit", limit_price="120").json()

    answer = holding.order(type="limit", limit_price="121")

    expected = forbidden(
        "potential wash trade detected. use complex orders",
        existing_order_id=resting["id"],
        buy_limit_price="121",
        sell_limit_price="120",
        reject_reason="sell order exists, buy limit price should be less than existing sell limit price",
    )
    assert (answer.status_code, answer.json()) == expected


def test_refusal_of_the_rate_limit_says_so(live: LiveExchange) -> None:
    live.sim("POST", "faults", kind="429_before")

    answer = live.send("GET", "/v2/account")

    assert (answer.status_code, answer.json()) == (429, {"code": 42910000, "message": "rate limit exceeded"})


def test_repeated_cancel_of_a_canceled_order_succeeds(live: LiveExchange) -> None:
    order = live.order(type="limit", limit_price="1").json()

    answers = [live.send("DELETE", f"/v2/orders/{order['id']}").status_code for _ in range(2)]

    assert answers == [204, 204]
