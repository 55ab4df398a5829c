"""A small bot against the paper exchange, with unmodified alpaca-py.

    python -m local.exchange --home /tmp/paper --port 8900 --admin-token sim
    ALPACA_BASE_URL=http://127.0.0.1:8900 EXCHANGE_ADMIN_TOKEN=sim \\
        ALPACA_API_KEY=... ALPACA_SECRET_KEY=... python examples/paper_exchange.py

It holds a share while its short average price is above its long one. Without a simulator's token
it follows the clock as it would at Alpaca; with one it moves the clock itself, as fast as it can.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from statistics import mean

import requests
from alpaca.data.enums import Adjustment
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

SHORT, LONG = 5, 20
DOLLARS = 20_000
URL = os.environ.get("ALPACA_BASE_URL", "http://127.0.0.1:8900")
KEYS = os.environ["ALPACA_API_KEY"], os.environ["ALPACA_SECRET_KEY"]
TOKEN = os.environ.get("EXCHANGE_ADMIN_TOKEN")

# The one line that differs from trading at Alpaca: url_override.
trading = TradingClient(*KEYS, url_override=URL)
data = StockHistoricalDataClient(*KEYS, url_override=URL)


def main(symbol: str = os.environ.get("SYMBOL", "AAPL"), days: int = int(os.environ.get("DAYS", "30"))) -> None:
    for _ in range(days):
        go_to("open")
        act(symbol)
        go_to("close")
    account = trading.get_account()
    print(f"{trading.get_clock().timestamp:%Y-%m-%d}: equity {account.equity}, cash {account.cash}")


def act(symbol: str) -> None:
    """Buy or sell as the averages say."""
    now = trading.get_clock().timestamp
    request = StockBarsRequest(
        symbol_or_symbols=symbol,
        timeframe=TimeFrame.Day,
        start=now - timedelta(days=3 * LONG),
        end=now,
        adjustment=Adjustment.SPLIT,
    )
    closes = [bar.close for bar in data.get_stock_bars(request).data[symbol]][-LONG:]
    wanted = len(closes) == LONG and mean(closes[-SHORT:]) > mean(closes)
    held = {position.symbol for position in trading.get_all_positions()}
    if wanted and symbol not in held:
        shares = int(DOLLARS / closes[-1])
        trading.submit_order(
            MarketOrderRequest(symbol=symbol, qty=shares, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
        )
        print(f"{now:%Y-%m-%d}: buy {shares} {symbol} near {closes[-1]}")
    elif symbol in held and not wanted:
        trading.close_position(symbol)
        print(f"{now:%Y-%m-%d}: sell {symbol} near {closes[-1]}")


def go_to(event: str) -> None:
    """Let time pass until the market opens or closes."""
    if TOKEN:
        step = {"to": event}
        requests.post(f"{URL}/_sim/step", json=step, headers={"X-Sim-Token": TOKEN}, timeout=30).raise_for_status()
        return
    while trading.get_clock().is_open is not (event == "open"):
        time.sleep(0.1)


if __name__ == "__main__":
    main()
