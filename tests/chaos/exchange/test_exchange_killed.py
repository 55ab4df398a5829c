"""The exchange killed without warning, again and again, while orders of every kind come in."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.exchange.process import KEYS, TOKEN, Process

SECOND = {"APCA-API-KEY-ID": "PKSECOND", "APCA-API-SECRET-KEY": "hush"}
ROUNDS = 3
ORDERS_A_ROUND = 15
ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "gtc"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Return a function that starts a process in this test's home, with a market that runs."""
    started: list[Process] = []

    def begin() -> Process:
        started.append(Process(tmp_path).wait_until_listening())
        return started[-1]

    yield begin
    for process in started:
        process.end()


class Trader(threading.Thread):
    """One account that sends, cancels and replaces until the exchange is gone; notes what was answered."""

    def __init__(self, keys: dict[str, str], name: str) -> None:
        super().__init__()
        self.url = ""
        self._keys, self._prefix = keys, name
        self._rng = random.Random(name)
        self.accepted: list[str] = []
        self.canceled: list[str] = []

    def run(self) -> None:
        with requests.Session() as session:
            session.headers.update(self._keys)
            try:
                for number in range(10_000):
                    self._act(session, number)
            except requests.ConnectionError:
                return

    def _act(self, session: requests.Session, number: int) -> None:
        body = ORDER | {"client_order_id": f"{self._prefix}-{number}", **self._kind()}
        answer = session.post(f"{self.url}/v2/orders", json=body, timeout=5)
        if answer.status_code != 200:
            return
        order = answer.json()
        self.accepted.append(order["client_order_id"])
        if self._rng.random() < 0.3:
            gone = session.delete(f"{self.url}/v2/orders/{order['id']}", timeout=5)
            if gone.status_code == 204:
                self.canceled.append(order["client_order_id"])
        elif self._rng.random() < 0.3:
            session.patch(f"{self.url}/v2/orders/{order['id']}", json={"qty": "2"}, timeout=5)

    def _kind(self) -> dict[str, Any]:
        kinds: list[dict[str, Any]] = [
            {},
            {"symbol": "IBM", "type": "limit", "limit_price": "50"},
            {"qty": None, "notional": "100", "time_in_force": "day"},
            {
                "symbol": "MSFT",
                "order_class": "bracket",
                "take_profit": {"limit_price": "500"},
                "stop_loss": {"stop_price": "5"},
            },
        ]
        return self._rng.choice(kinds)


def test_nothing_is_lost_or_doubled_when_it_is_killed_again_and_again(start: Callable[[], Process]) -> None:
    process = start()
    process.sim("accounts", key_id="PKSECOND", secret_key="hush")
    process.sim("step", to="open")
    process.sim("clock", mode="running", seconds_per_session=2)
    accepted: dict[str, list[str]] = {"PKTEST": [], "PKSECOND": []}
    canceled: list[str] = []

    for number in range(ROUNDS):
        traders = {name: Trader(keys, f"{name}-{number}") for name, keys in (("PKTEST", KEYS), ("PKSECOND", SECOND))}
        for trader in traders.values():
            trader.url = process.url
            trader.start()
        deadline = time.monotonic() + 30
        while min(len(trader.accepted) for trader in traders.values()) < ORDERS_A_ROUND and time.monotonic() < deadline:
            time.sleep(0.003)
        process.kill()
        for name, trader in traders.items():
            trader.join(10)
            accepted[name] += trader.accepted
            canceled += trader.canceled
        process = start()

    for name, keys in (("PKTEST", KEYS), ("PKSECOND", SECOND)):
        ledger = _ledger(process, name)
        kept = Counter(order["client_order_id"] for order in ledger["orders"])
        status = {order["client_order_id"]: order["status"] for order in ledger["orders"]}
        assert ledger["problems"] == []
        assert len(accepted[name]) >= ROUNDS * ORDERS_A_ROUND
        assert set(accepted[name]) <= kept.keys()
        assert set(kept.values()) == {1}
        assert {status[each] for each in canceled if each in status} <= {"canceled"}
        _check_by_activities(process, keys)
    assert _ledger(process, "PKTEST")["now"] == _ledger(process, "PKSECOND")["now"]


@pytest.mark.parametrize(("kind", "exists"), [("hang", False), ("hang_after_accept", True), ("500_after_accept", True)])
def test_order_is_there_once_or_not_at_all_when_it_is_killed_in_the_middle_of_it(
    start: Callable[[], Process], kind: str, exists: bool
) -> None:
    process = start()
    process.sim("faults", kind=kind, route="POST /v2/orders")
    sender = threading.Thread(target=_send, args=[process.url])
    sender.start()
    deadline = time.monotonic() + 5
    while process.sim("faults")[0]["hits"] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)

    process.kill()
    sender.join(10)

    process = start()
    found = requests.get(
        f"{process.url}/v2/orders:by_client_order_id", params={"client_order_id": "one"}, headers=KEYS, timeout=5
    )
    again = requests.post(f"{process.url}/v2/orders", json=ORDER | {"client_order_id": "one"}, headers=KEYS, timeout=5)
    assert found.status_code == (200 if exists else 404)
    assert again.status_code == (422 if exists else 200)
    assert process.sim("ledger")["order_count"] == 1


def _check_by_activities(process: Process, keys: dict[str, str]) -> None:
    """Compare cash and positions with what the account's own list of executions adds up to."""
    cash, shares, token = Decimal(100_000), defaultdict[str, Decimal](Decimal), None
    process.sim("clock", mode="stepping")
    while True:
        page = _get(process, "/v2/account/activities/FILL", keys, direction="asc", page_token=token)
        for fill in page:
            sign = 1 if fill["side"] == "buy" else -1
            cash -= sign * round(Decimal(fill["qty"]) * Decimal(fill["price"]), 2)
            shares[fill["symbol"]] += sign * Decimal(fill["qty"])
        if not page:
            break
        token = page[-1]["id"]
    assert Decimal(_get(process, "/v2/account", keys)["cash"]) == cash
    held = {position["symbol"]: Decimal(position["qty"]) for position in _get(process, "/v2/positions", keys)}
    assert held == {symbol: qty for symbol, qty in shares.items() if qty}


def _ledger(process: Process, key_id: str) -> Any:
    headers = TOKEN | {"X-Sim-Account": key_id}
    return requests.get(f"{process.url}/_sim/ledger", headers=headers, timeout=10).json()


def _get(process: Process, path: str, keys: dict[str, str], **query: str | None) -> Any:
    return requests.get(process.url + path, params=query, headers=keys, timeout=10).json()


def _send(url: str) -> None:
    try:
        requests.post(f"{url}/v2/orders", json=ORDER | {"client_order_id": "one"}, headers=KEYS, timeout=5)
    except requests.ConnectionError:
        return  # the exchange was killed under the request
