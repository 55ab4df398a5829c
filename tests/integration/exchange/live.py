"""A real exchange over real HTTP, and the unmodified alpaca-py clients."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from pathlib import Path
from typing import Any

import requests
from aiohttp import web
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from local.exchange.http.app import create_app
from local.exchange.http.keys import FAULTS, Access
from local.exchange.market.tape import Tape
from local.exchange.trading.exchange import Birth, open_exchange
from local.exchange.trading.matching import FillProfile

KEY_ID, SECRET_KEY, ADMIN_TOKEN = "PKTEST", "secret", "admin"


class LiveExchange:
    """One exchange served by its own thread, with clients and the simulator's controls."""

    def __init__(
        self,
        folder: Path,
        tape: Tape,
        *,
        start: date = date(2007, 1, 3),
        rate_limit: int = 0,
        admin_token: str | None = ADMIN_TOKEN,
    ) -> None:
        self._access = Access(KEY_ID, SECRET_KEY, admin_token, rate_limit)
        self._open = lambda: open_exchange(
            folder / "ledger.sqlite", tape, Birth(seed=7, start=start), FillProfile.IDEAL
        )
        self._start()

    def _start(self) -> None:
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        assert self._ready.wait(10)
        self.url = f"http://127.0.0.1:{self.port}"
        self.trading = self.client()
        self.data = StockHistoricalDataClient(KEY_ID, SECRET_KEY, url_override=self.url)
        self.data._retry = 0

    def client(self, key_id: str = KEY_ID, secret_key: str = SECRET_KEY) -> TradingClient:
        """Return a client of an account, without the retries that would hide what a refusal looks like."""
        client = TradingClient(key_id, secret_key, url_override=self.url)
        client._retry = 0
        return client

    def restart(self) -> None:
        """Stop serving and start again on the same ledger, on another port."""
        self.stop()
        self._start()

    def sim(self, method: str, path: str, **body: Any) -> Any:
        headers = {"X-Sim-Token": ADMIN_TOKEN}
        url = f"{self.url}/_sim/{path}"
        response = requests.request(method, url, headers=headers, json=body or None, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def step(self, **body: Any) -> dict[str, Any]:
        clock: dict[str, Any] = self.sim("POST", "step", **body)
        return clock

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request past alpaca-py, which would not let it through."""
        headers = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}
        headers |= options.pop("headers", {})
        options.setdefault("timeout", 10)
        return requests.request(method, self.url + path, headers=headers, **options)

    def order(self, **fields: Any) -> requests.Response:
        body = {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "market"}
        return self.send("POST", "/v2/orders", json=body | {"time_in_force": "day"} | fields)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stopping = asyncio.Event()
        exchange = self.exchange = self._open()
        app = create_app(exchange, self._access)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stopping.wait()
        app[FAULTS].clear()
        await runner.cleanup()
        exchange.ledger.store.close()
