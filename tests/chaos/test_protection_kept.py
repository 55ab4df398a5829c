"""A running engine keeps a position protected, however often somebody takes its orders away."""

import time
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from tests.chaos.conftest import StartEngine
from tests.chaos.test_engine_killed import wait_for
from tests.support.exchange import RunningExchange

pytestmark = pytest.mark.timeout(180)
PROTECTED_WITHIN_S = 10
ROUNDS = 3


def broker(exchange: RunningExchange, method: str, path: str, **query: str) -> Any:
    """Call the exchange as a person with the account's keys does."""
    headers = {
        "APCA-API-KEY-ID": exchange.env["ALPACA_API_KEY"],
        "APCA-API-SECRET-KEY": exchange.env["ALPACA_SECRET_KEY"],
    }
    response = httpx.request(
        method, f"{exchange.url}{path}", params=query, headers=headers, timeout=10, trust_env=False
    )
    response.raise_for_status()
    return response.json() if response.content else None


def test_a_position_is_protected_again_within_ten_seconds_each_time_its_orders_are_cancelled_by_hand(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    start_engine()
    wait_for(lambda: _entry_is(clean_db, "working"), timeout_s=60, what="an entry at the broker")
    clean_db.execute("update profiles set active = false")
    exchange.sim("POST", "step", minutes=30)
    wait_for(lambda: _is_covered(exchange), timeout_s=60, what="a filled and protected entry")

    for _ in range(ROUNDS):
        for order in broker(exchange, "GET", "/v2/orders", status="open"):
            broker(exchange, "DELETE", f"/v2/orders/{order['id']}")
        assert not _is_covered(exchange)
        began = time.monotonic()
        wait_for(lambda: _is_covered(exchange), timeout_s=PROTECTED_WITHIN_S, what="protection again")
        print(f"protected again after {time.monotonic() - began:.1f} s")

    exchange.sim("POST", "price", symbol="AAPL", pct="-0.2")
    exchange.sim("POST", "step", minutes=10)
    wait_for(lambda: _closed_by(clean_db) == "stop_loss", timeout_s=30, what="the stop to close the trade")
    assert exchange.sim("GET", "ledger")["positions"] == {}


def _entry_is(db: psycopg.Connection, state: str) -> bool:
    return (
        db.execute("select 1 from orders where purpose = 'entry' and state::text = %s", (state,)).fetchone() is not None
    )


def _closed_by(db: psycopg.Connection) -> str | None:
    row = db.execute("select exit_reason from trade_history").fetchone()
    return None if row is None else str(row[0])


def _is_covered(exchange: RunningExchange) -> bool:
    """Tell whether stops rest at the broker for exactly what is held, `held` legs included."""
    held = exchange.sim("GET", "ledger")["positions"].get("AAPL")
    orders = broker(exchange, "GET", "/v2/orders", status="all", limit="500")
    stops = [order for order in orders if order["type"] == "stop" and order["status"] in ("new", "held", "accepted")]
    return held is not None and sum(Decimal(order["qty"]) for order in stops) == Decimal(held)
