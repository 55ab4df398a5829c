"""The trade_updates stream through the unmodified client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream

from tests.integration.exchange.live import KEY_ID, SECRET_KEY, LiveExchange


class Follower:
    """A TradingStream in its own thread, and the updates it has received."""

    def __init__(self, live: LiveExchange, key_id: str = KEY_ID, secret_key: str = SECRET_KEY) -> None:
        self._live = live
        self._updates: queue.Queue[TradeUpdate] = queue.Queue()
        url = live.url.replace("http", "ws") + "/stream"
        self._stream = TradingStream(key_id, secret_key, url_override=url)
        self._stream.subscribe_trade_updates(self._receive)
        self._thread = threading.Thread(target=self._stream.run)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._stream._running and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # its request to listen is on the way, and it does not wait for the answer

    async def _receive(self, update: TradeUpdate) -> None:
        self._updates.put(update)

    def next(self) -> TradeUpdate:
        return self._updates.get(timeout=10)

    def events(self, count: int = 0, *, quiet_s: float = 0.2) -> list[str]:
        """Return `count` events as `event symbol`, and those that come after them before it is quiet."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                update = self._updates.get(timeout=10 if len(found) < count else quiet_s)
                found.append(f"{update.event} {update.order.symbol}")
        return found

    def stop(self) -> None:
        self._live.sim("DELETE", "faults")
        self._stream.stop()
        self._live.order(qty="1")  # the client sees that it should stop when something arrives
        self._thread.join(15)


@pytest.fixture
def follower(live: LiveExchange) -> Iterator[Follower]:
    follower = Follower(live)
    yield follower
    follower.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client uses websockets.legacy
class TestTradeUpdates:
    def test_tell_an_orders_whole_life_when_it_fills(self, live: LiveExchange, follower: Follower) -> None:
        live.order(client_order_id="one")
        live.step(ticks=1)

        new, fill = follower.next(), follower.next()

        assert (new.event, fill.event) == ("new", "fill")
        assert (fill.order.client_order_id, fill.qty, fill.position_qty) == ("one", 10, 10)
        assert str(fill.price) == fill.order.filled_avg_price

    def test_tell_of_every_leg_when_a_bracket_is_canceled(self, live: LiveExchange, follower: Follower) -> None:
        exits = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "60"}}
        order = live.order(order_class="bracket", **exits).json()
        live.trading.cancel_order_by_id(order["id"])

        events = [follower.next().event for _ in range(4)]

        assert events == ["new", "canceled", "canceled", "canceled"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client uses websockets.legacy
class TestFaults:
    """What a client is told when the stream misbehaves; the orders themselves are always in order."""

    @pytest.mark.parametrize(
        ("fault", "events"),
        [
            ({"kind": "stream_mute", "count": None}, []),
            ({"kind": "stream_drop"}, ["fill AAPL"]),
            ({"kind": "stream_duplicate"}, ["new AAPL", "new AAPL", "fill AAPL"]),
            ({"kind": "stream_reorder"}, ["fill AAPL", "new AAPL"]),
            ({"kind": "stream_delay", "delay_ms": 3000}, ["fill AAPL", "new AAPL"]),
            ({"kind": "stream_unknown_status"}, ["fill AAPL"]),  # the client itself loses what it cannot read
            ({"kind": "stream_drop", "symbol": "MSFT", "count": None}, ["new AAPL", "fill AAPL"]),
        ],
    )
    def test_updates_come_like_this(
        self, live: LiveExchange, follower: Follower, fault: dict[str, object], events: list[str]
    ) -> None:
        live.sim("POST", "faults", **fault)

        live.order()
        live.step(ticks=1)

        assert follower.events(len(events)) == events
        assert live.trading.get_open_position("AAPL").qty == "10"

    def test_what_happens_while_it_is_gone_is_lost_when_the_connection_breaks(
        self, live: LiveExchange, follower: Follower
    ) -> None:
        live.sim("POST", "faults", kind="stream_disconnect")
        live.order()  # its update breaks the connection
        live.step(ticks=1)

        deadline = time.monotonic() + 10
        seen: list[str] = []
        while not seen and time.monotonic() < deadline:  # until the client is back and listens
            live.order(symbol="MSFT", qty="1")
            seen = follower.events(quiet_s=0.1)

        assert set(seen) == {"new MSFT"}

    def test_second_account_hears_nothing_of_the_first(self, live: LiveExchange, follower: Follower) -> None:
        live.sim("POST", "accounts", key_id="PKSECOND", secret_key="hush")
        headers = {"APCA-API-KEY-ID": "PKSECOND", "APCA-API-SECRET-KEY": "hush"}

        live.send("POST", "/v2/orders", json=ORDER | {"symbol": "MSFT"}, headers=headers)
        live.order()

        assert follower.events(1) == ["new AAPL"]

    def test_second_connection_is_refused_when_told_so(self, live: LiveExchange, follower: Follower) -> None:
        live.sim("POST", "faults", kind="stream_refuse_second")

        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            _apart(_say(live.url, "{}"))

        assert refused.value.status == 429

    def test_right_keys_are_refused_when_told_so(self, live: LiveExchange) -> None:
        live.sim("POST", "faults", kind="stream_auth_failure")
        keys = {"key_id": KEY_ID, "secret_key": SECRET_KEY}

        received = _apart(_say(live.url, json.dumps({"action": "authenticate", "data": keys})))

        assert b"unauthorized" in received[0]


ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}


class TestHandshake:
    @pytest.mark.parametrize(
        "message",
        [
            {"action": "authenticate", "data": {"key_id": "PKTEST", "secret_key": "wrong"}},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
            {"action": "authenticate", "data": "nonsense"},
            "[",
        ],
    )
    def test_connection_ends_when_the_first_message_does_not_authenticate(
        self, live: LiveExchange, message: object
    ) -> None:
        text = message if isinstance(message, str) else json.dumps(message)

        received = _apart(_say(live.url, text))

        assert all(b"unauthorized" in each for each in received)


def _apart(conversation: Coroutine[object, object, list[bytes]]) -> list[bytes]:
    """Run a conversation in a thread of its own: a browser test before this one may have left a loop in ours."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, conversation).result()


async def _say(url: str, text: str) -> list[bytes]:
    """Send one message; return what comes back until the other side closes."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/stream") as socket:
        await socket.send_str(text)
        return [message.data async for message in socket]
