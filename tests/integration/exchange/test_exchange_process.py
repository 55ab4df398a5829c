"""The exchange as a process: started, killed, restarted, and refused a start."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import requests
from alpaca.trading.client import TradingClient

from tests.integration.exchange.process import KEYS, Process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return a function that starts a process in this test's home."""
    started: list[Process] = []

    def begin(**environment: str) -> Process:
        started.append(Process(tmp_path, **environment))
        return started[-1]

    yield begin
    for process in started:
        process.end()


class TestStart:
    def test_announces_the_port_it_listens_on_when_any_will_do(
        self, start: Callable[..., Process], tmp_path: Path
    ) -> None:
        process = start().wait_until_listening()

        assert process.url.endswith(f":{(tmp_path / 'exchange' / 'port').read_text().strip()}")
        assert TradingClient("PKTEST", "secret", url_override=process.url).get_account().cash

    def test_makes_keys_and_keeps_them_private_when_none_are_given(
        self, start: Callable[..., Process], tmp_path: Path
    ) -> None:
        start(ALPACA_API_KEY="", ALPACA_SECRET_KEY="").wait_until_listening()

        kept = tmp_path / "exchange" / "keys.json"
        assert kept.stat().st_mode & 0o777 == 0o600

    def test_says_what_to_do_when_the_port_is_in_use(self, start: Callable[..., Process]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            code, said = start(EXCHANGE_PORT=str(other.getsockname()[1])).ended()

        assert code == 1
        assert "is in use: stop the other process, or set EXCHANGE_PORT" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize(
        ("environment", "message"),
        [
            ({"ALPACA_SECRET_KEY": ""}, "set both ALPACA_API_KEY and ALPACA_SECRET_KEY"),
            ({"EXCHANGE_START": "2031-01-01"}, "the start must lie between 2000-03-02 and 2013-03-01"),
        ],
    )  # fmt: skip
    def test_says_what_to_do_when_a_setting_makes_no_sense(
        self, start: Callable[..., Process], environment: dict[str, str], message: str
    ) -> None:
        code, said = start(**environment).ended()

        assert code == 1
        assert message in said
        assert "Traceback" not in said

    def test_says_what_to_do_when_the_ledger_is_damaged(self, start: Callable[..., Process], tmp_path: Path) -> None:
        ledger = tmp_path / "exchange" / "ledger.sqlite"
        ledger.parent.mkdir()
        ledger.write_bytes(b"not a database" * 1000)

        code, said = start().ended()

        assert code == 1
        assert "is damaged" in said
        assert "delete it to start over" in said
        assert "Traceback" not in said

    def test_is_refused_when_another_process_has_the_ledger(self, start: Callable[..., Process]) -> None:
        start().wait_until_listening()

        code, said = start().ended()

        assert code == 1
        assert "is in use by another exchange" in said


class TestStop:
    def test_ends_soon_when_a_request_hangs(self, start: Callable[..., Process]) -> None:
        process = start().wait_until_listening()
        process.sim("faults", route="GET /v2/clock", kind="hang")
        hanging = threading.Thread(target=_ask_for_the_clock, args=[process.url])
        hanging.start()
        time.sleep(0.2)

        process.popen.send_signal(signal.SIGTERM)

        assert process.ended()[0] == 0
        hanging.join(5)

    def test_ends_soon_when_a_client_listens(self, start: Callable[..., Process]) -> None:
        process = start().wait_until_listening()
        listening = threading.Event()
        listener = threading.Thread(target=lambda: asyncio.run(_listen(process.url, listening)))
        listener.start()
        assert listening.wait(5)

        process.popen.send_signal(signal.SIGTERM)

        assert process.ended()[0] == 0
        listener.join(5)


class TestKill:
    def test_loses_and_doubles_nothing_when_killed_while_orders_come_in(self, start: Callable[..., Process]) -> None:
        process = start().wait_until_listening()
        process.sim("step", to="open")
        sent: list[str] = []
        sender = threading.Thread(target=_send_orders, args=[process.url, sent])
        sender.start()
        while len(sent) < 50:
            time.sleep(0.005)

        process.kill()
        sender.join(10)

        ledger = start().wait_until_listening().sim("ledger")
        kept = [order["client_order_id"] for order in ledger["orders"]]
        assert ledger["ok"] is True
        assert len(kept) == len(set(kept))
        assert set(sent) <= set(kept)  # at most one more: accepted, and its answer lost
        assert len(kept) <= len(sent) + 1

    def test_stands_still_when_down_and_runs_on_after_it(self, start: Callable[..., Process]) -> None:
        process = start(SECONDS_PER_SESSION="4").wait_until_listening()
        process.sim("clock", mode="running", seconds_per_session=4)
        time.sleep(1)
        before = process.sim("clock")
        process.kill()
        time.sleep(0.5)

        restarted = start().wait_until_listening()

        after = restarted.sim("clock")
        assert after["mode"] == "running"
        assert before["now"] <= after["now"]
        assert after["session_date"] == before["session_date"]
        time.sleep(0.5)
        assert restarted.sim("clock")["now"] > after["now"]


def _ask_for_the_clock(url: str) -> None:
    try:
        requests.get(f"{url}/v2/clock", headers=KEYS, timeout=10)
    except requests.ConnectionError:
        return  # the process ended under the request, as it should


async def _listen(url: str, listening: threading.Event) -> None:
    """Listen to the order stream until the other side ends it."""
    keys = {"key_id": "PKTEST", "secret_key": "secret"}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/stream") as socket:
        await socket.send_json({"action": "authenticate", "data": keys})
        await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        async for message in socket:
            if b"listening" in message.data:
                listening.set()


def _send_orders(url: str, sent: list[str]) -> None:
    """Send orders one after another until the exchange is gone; note those it answered."""
    body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "gtc"}
    with requests.Session() as session:
        session.headers.update(KEYS)
        for number in range(10_000):
            order = body | {"client_order_id": f"order-{number}"}
            try:
                answer = session.post(f"{url}/v2/orders", json=order, timeout=5)
            except requests.ConnectionError:
                return
            if answer.status_code == 200:
                sent.append(order["client_order_id"])
