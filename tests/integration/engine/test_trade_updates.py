"""The stream of trade updates over a real connection: heard, cut, deaf, and never needed."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from engine.adapters.alpaca_stream import AlpacaTradeUpdates
from tests.support.exchange import RunningExchange


class Ear:
    """Counts what is heard."""

    def __init__(self) -> None:
        self.heard = 0
        self._more = threading.Condition()

    def __call__(self) -> None:
        with self._more:
            self.heard += 1
            self._more.notify_all()

    def wait_beyond(self, count: int) -> None:
        """Wait until more than `count` hints were heard."""
        with self._more:
            assert self._more.wait_for(lambda: self.heard > count, timeout=30), f"{self.heard} hints"


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def updates(exchange: RunningExchange, ear: Ear) -> Iterator[AlpacaTradeUpdates]:
    """A stream that has connected, which is the first hint."""
    keys = exchange.env
    updates = AlpacaTradeUpdates(
        base_url=exchange.url, api_key=keys["ALPACA_API_KEY"], secret_key=keys["ALPACA_SECRET_KEY"]
    )
    updates.start(ear)
    ear.wait_beyond(0)
    yield updates
    updates.stop()


def place(exchange: RunningExchange) -> None:
    keys = exchange.env
    headers = {"APCA-API-KEY-ID": keys["ALPACA_API_KEY"], "APCA-API-SECRET-KEY": keys["ALPACA_SECRET_KEY"]}
    body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1", "time_in_force": "gtc"}
    answer = httpx.post(f"{exchange.url}/v2/orders", json=body, headers=headers, trust_env=False, timeout=10)
    assert answer.is_success, answer.text


def test_an_order_is_heard_of(updates: AlpacaTradeUpdates, exchange: RunningExchange, ear: Ear) -> None:
    before = ear.heard

    place(exchange)

    ear.wait_beyond(before)
    assert updates.is_connected()


def test_a_status_that_nobody_knows_is_heard_of_as_well(
    updates: AlpacaTradeUpdates, exchange: RunningExchange, ear: Ear
) -> None:
    exchange.sim("POST", "faults", kind="stream_unknown_status", count=10)
    before = ear.heard

    place(exchange)

    ear.wait_beyond(before)


@pytest.mark.parametrize("cut", ["by the broker", "by us"])
def test_a_connection_that_was_cut_comes_back_and_says_so(
    cut: str, updates: AlpacaTradeUpdates, exchange: RunningExchange, ear: Ear
) -> None:
    before = ear.heard
    if cut == "by us":
        updates.reconnect()
    else:
        exchange.sim("POST", "faults", kind="stream_disconnect")
        place(exchange)  # this update is lost for ever

    ear.wait_beyond(before)  # the connect itself is a hint: whatever was missed is looked up
    again = ear.heard
    place(exchange)
    ear.wait_beyond(again)


def test_a_stopped_stream_leaves_no_thread_behind(updates: AlpacaTradeUpdates) -> None:
    updates.stop()

    assert not any(thread.name == "trade_updates" for thread in threading.enumerate())
