"""The exchange alone: its help, a user's own bars, and what it says when they are wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from tests.integration.exchange.process import Process

BARS = """symbol,date,open,high,low,close,volume,split,dividend
ACME,2024-07-01,10.00,11.00,9.00,10.50,50000,,
ACME,2024-07-02,10.50,10.90,10.20,10.40,41000,,0.12
ACME,2024-07-03,5.20,5.50,5.10,5.25,90000,2,
ACME,2024-07-05,5.30,5.60,5.20,5.40,80000,,
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Return a function that starts an exchange on bars of one's own."""
    started: list[Process] = []

    def begin(bars: str) -> Process:
        file = tmp_path / "mine.csv"
        file.write_text(bars)
        started.append(Process(tmp_path, EXCHANGE_BARS=str(file)))
        return started[-1]

    yield begin
    for process in started:
        process.end()


def test_trades_a_symbol_of_ones_own_through_its_split(start: Callable[[str], Process]) -> None:
    process = start(BARS).wait_until_listening()
    trading = TradingClient("PKTEST", "secret", url_override=process.url)
    data = StockHistoricalDataClient("PKTEST", "secret", url_override=process.url)
    assert f"{trading.get_clock().timestamp:%Y-%m-%d %H:%M}" == "2024-07-02 09:25"

    process.sim("step", to="open")
    order = MarketOrderRequest(symbol="ACME", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    bought = trading.submit_order(order)
    process.sim("jump", to="2024-07-05T20:00:00Z")

    position = trading.get_open_position("ACME")
    request = StockBarsRequest(
        symbol_or_symbols="ACME", timeframe=TimeFrame.Day, start=datetime(2024, 7, 1, tzinfo=UTC)
    )
    bars = data.get_stock_bars(request).data["ACME"]
    assert (position.qty, position.current_price) == ("20", "5.4")
    assert position.asset_id == bought.asset_id == trading.get_asset("ACME").id
    assert [asset.symbol for asset in trading.get_all_assets()] == ["ACME"]
    assert [bar.close for bar in bars] == [10.5, 10.4, 5.25, 5.4]


def test_says_which_line_is_wrong_and_ends(start: Callable[[str], Process], tmp_path: Path) -> None:
    code, said = start(BARS.replace("2024-07-03", "2024-07-04")).ended()

    assert code == 1
    assert "mine.csv, line 4: it is of 2024-07-04, when the New York Stock Exchange was closed: remove it" in said
    assert "Traceback" not in said
    assert not (tmp_path / "exchange" / "ledger.sqlite").exists()


def test_help_explains_every_option() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "local.exchange", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    for option in ("--bars", "--start", "--seed", "--run", "--fills", "--home", "--rate-limit", "--admin-token"):
        assert option in answer
    assert "url_override" in answer
