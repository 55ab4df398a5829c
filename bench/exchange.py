"""The paper exchange in a process of its own: orders a second, a long list, memory after many ticks."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import requests

from bench.harness import Bench, Row
from local.exchange.market.tape import load_tape
from local.exchange.trading.exchange import Birth, Exchange, open_exchange

ORDERS, CONNECTIONS, WAITING = 2_000, 8, 100  # at most so many orders wait for a tick
REAL_RATE = 200 / 60  # orders a second that Alpaca's limit lets through
RATE_FACTOR_MIN = 20
LISTED, BATCH, PAGE = 100_000, 1_000, 500
LISTING_CPU_S_MAX = 6
TICKS, TICK = 1_000_000, timedelta(minutes=5)
MEMORY_MB_MAX = 300
SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
KEYS = {"APCA-API-KEY-ID": "PKBENCH", "APCA-API-SECRET-KEY": "secret"}
ADMIN = {"X-Sim-Token": "bench"}


def measured(_: Bench) -> list[Row]:
    """Measure all three; the authority takes no part."""
    return [orders_a_second(), listing(), memory()]


def orders_a_second() -> Row:
    """Send market orders over a few connections; every hundred of them, the market fills them."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as exchange:
        exchange.sim("step", to="open")
        started = time.perf_counter()
        for _ in range(ORDERS // WAITING):
            asyncio.run(_send_orders(exchange.url))
            exchange.sim("step", ticks=1)
        total_s = time.perf_counter() - started
        filled = sum(order["status"] == "filled" for order in exchange.ledger()["orders"])
    rate = filled / total_s
    return Row(
        what="paper exchange, orders accepted and filled",
        measured=f"{rate:,.0f} a second",
        target=f">= {RATE_FACTOR_MIN} x Alpaca's 200 a minute",
        detail=f"{rate / REAL_RATE:,.0f} x; {filled} of {ORDERS} filled, sent over {CONNECTIONS} connections",
        reached=filled == ORDERS and rate >= RATE_FACTOR_MIN * REAL_RATE,
    )


def listing() -> Row:
    """List a long ledger from its first order to its last, page by page."""
    with tempfile.TemporaryDirectory() as folder:
        _write_orders(Path(folder) / "exchange" / "ledger.sqlite")
        with running(Path(folder)) as exchange:
            started, worked_s = time.perf_counter(), exchange.cpu_s()
            listed = _list_all(exchange)
            took_s, worked_s = time.perf_counter() - started, exchange.cpu_s() - worked_s
    return Row(
        what=f"paper exchange, {LISTED:,} orders listed",
        measured=f"{worked_s:.1f} s of the exchange's processor time",
        target=f"<= {LISTING_CPU_S_MAX} s",
        detail=f"{LISTED // PAGE} pages of {PAGE}, {took_s:.1f} s altogether; {len(listed):,} different ids",
        reached=len(listed) == LISTED and worked_s <= LISTING_CPU_S_MAX,
    )


def memory() -> Row:
    """Let a million ticks pass, nights included, with orders resting, and look at the process."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), start="2000-03-02") as exchange:
        exchange.sim("step", to="open")
        before_mb = exchange.memory_mb()
        began = time.perf_counter()
        first = exchange.now()
        while (ticks := (exchange.now() - first) // TICK) < TICKS:
            _rest_orders(exchange)
            # A good-till-cancelled order lives for 90 days; it makes the exchange walk through the nights.
            exchange.sim("jump", to=(exchange.now() + timedelta(days=80)).date().isoformat())
        after_mb = exchange.memory_mb()
        took_s = time.perf_counter() - began
    return Row(
        what=f"paper exchange, memory after {ticks:,} ticks",
        measured=f"{after_mb:.0f} MB",
        target=f"<= {MEMORY_MB_MAX} MB",
        detail=f"{before_mb:.0f} MB before; {took_s / ticks * 1e6:.0f} us a tick with {len(SYMBOLS)} orders resting",
        reached=after_mb <= MEMORY_MB_MAX,
    )


@dataclass(frozen=True)
class _Running:
    """An exchange process and its address."""

    url: str
    pid: int

    def sim(self, path: str, **body: Any) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/_sim/{path}", json=body, headers=ADMIN, timeout=600)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def ledger(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/_sim/ledger", headers=ADMIN, timeout=60)
        found: dict[str, Any] = answer.json()
        return found

    def now(self) -> datetime:
        answer = requests.get(f"{self.url}/_sim/clock", headers=ADMIN, timeout=60)
        return datetime.fromisoformat(answer.json()["now"])

    def cpu_s(self) -> float:
        """Return the processor time that the process has used, which does not depend on what else runs."""
        used = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def running(home: Path, start: str = "2007-01-03") -> Iterator[_Running]:
    """Start an exchange in a process of its own and stop it afterwards."""
    options = ["--home", str(home), "--start", start, "--port", "0", "--fills", "ideal", "--admin-token", "bench"]
    keys = {"ALPACA_API_KEY": KEYS["APCA-API-KEY-ID"], "ALPACA_SECRET_KEY": KEYS["APCA-API-SECRET-KEY"]}
    process = subprocess.Popen(
        [sys.executable, "-m", "local.exchange", *options], env=os.environ | keys, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on "), said
        yield _Running(said.split()[-1], process.pid)
    finally:
        process.terminate()
        process.wait(10)


async def _send_orders(url: str) -> None:
    async with aiohttp.ClientSession(headers=KEYS, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        await asyncio.gather(*(_send(session, url, SYMBOLS[n % len(SYMBOLS)]) for n in range(WAITING)))


async def _send(session: aiohttp.ClientSession, url: str, symbol: str) -> None:
    body = {"symbol": symbol, "qty": "0.1", "side": "buy", "type": "market", "time_in_force": "day"}
    async with session.post(f"{url}/v2/orders", json=body) as answer:
        assert answer.status == 200, await answer.text()


def _write_orders(path: Path) -> None:
    """Write a ledger with many orders that were placed and canceled."""
    exchange = open_exchange(path, load_tape(), Birth(seed=7, start=date(2007, 1, 3)))
    try:
        for _ in range(LISTED // BATCH):
            with exchange.ledger.transaction():
                _place_and_cancel(exchange)
    finally:
        exchange.ledger.store.close()


def _place_and_cancel(exchange: Exchange) -> None:
    for _ in range(BATCH):
        order = {"symbol": "AAPL", "qty": Decimal(1), "side": "buy", "type": "limit", "limit_price": Decimal(1)}
        exchange.cancel(exchange.submit(order | {"time_in_force": "day"}).id)


def _list_all(exchange: _Running) -> set[str]:
    """Return the ids of all orders, read as a client would: each page after the last one's end."""
    found: set[str] = set()
    query: dict[str, Any] = {"status": "all", "direction": "asc", "limit": PAGE}
    with requests.Session() as session:
        while True:
            page = session.get(f"{exchange.url}/v2/orders", params=query, headers=KEYS, timeout=30).json()
            found |= {order["id"] for order in page}
            if len(page) < PAGE:
                return found
            query["after"] = page[-1]["submitted_at"]


def _rest_orders(exchange: _Running) -> None:
    requests.delete(f"{exchange.url}/v2/orders", headers=KEYS, timeout=30)
    for symbol in ("AAPL", "IBM", "MSFT", "BTC/USD"):
        price = "1000" if "/" in symbol else "1.00"
        order = {"symbol": symbol, "qty": "1", "side": "buy", "type": "limit", "limit_price": price}
        body = order | {"time_in_force": "gtc"}
        requests.post(f"{exchange.url}/v2/orders", json=body, headers=KEYS, timeout=30).raise_for_status()
