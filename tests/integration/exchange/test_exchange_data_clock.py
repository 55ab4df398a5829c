"""The simulated clock run, paused, stepped and sent ahead; halts; and the example on top of it all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alpaca.data.requests import StockLatestTradeRequest
from alpaca.trading.requests import GetCalendarRequest

from tests.integration.exchange.live import ADMIN_TOKEN, KEY_ID, SECRET_KEY, LiveExchange

EXAMPLE = Path(__file__).parents[3] / "examples" / "paper_exchange.py"


def now(live: LiveExchange) -> datetime:
    at: datetime = live.trading.get_clock().timestamp
    return at.astimezone(UTC)


def prices(live: LiveExchange) -> dict[str, Any]:
    """Return all that the data endpoints say is the latest, by symbol."""
    symbols = ("AAPL", "MSFT")
    latest = {
        name: live.send("GET", f"/v2/stocks/{name}/latest?symbols=AAPL,MSFT").json()[name]
        for name in ("trades", "quotes", "bars")
    }
    snapshots = live.send("GET", "/v2/stocks/snapshots?symbols=AAPL,MSFT").json()
    for each in symbols:
        del snapshots[each]["dailyBar"]  # it counts the last trade only with the five minutes that it began
    return {each: [snapshots[each], *(found[each] for found in latest.values())] for each in symbols}


def today(live: LiveExchange, series: str) -> list[datetime]:
    """Return the times of AAPL's trades, quotes or minutes of the day."""
    path = f"/v2/stocks/{series}?symbols=AAPL&timeframe=1Min&start=2007-01-03&limit=10000"
    return [datetime.fromisoformat(row["t"]) for row in live.send("GET", path).json()[series]["AAPL"]]


class TestJump:
    def test_to_a_day_ends_shortly_before_its_open(self, live: LiveExchange) -> None:
        live.sim("POST", "jump", to="2007-02-20")

        clock = live.trading.get_clock()

        assert clock.timestamp.astimezone(UTC) == datetime(2007, 2, 20, 14, 25, tzinfo=UTC)
        assert not clock.is_open

    def test_to_a_holiday_ends_before_the_next_session(self, live: LiveExchange) -> None:
        live.sim("POST", "jump", to="2007-02-19")

        assert now(live) == datetime(2007, 2, 20, 14, 25, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("to", "reached"),
        [
            ("2007-01-05T15:02:00Z", datetime(2007, 1, 5, 15, 0, tzinfo=UTC)),
            ("2007-01-05T16:00:00-05:00", datetime(2007, 1, 5, 21, 0, tzinfo=UTC)),
            ("2007-01-06T12:00:00Z", datetime(2007, 1, 5, 21, 0, tzinfo=UTC)),
        ],
    )
    def test_to_a_time_ends_with_the_last_tick_before_it(self, live: LiveExchange, to: str, reached: datetime) -> None:
        live.sim("POST", "jump", to=to)

        assert now(live) == reached

    def test_fills_and_expires_on_its_way_what_stepping_would(
        self, start_exchange: Callable[..., LiveExchange]
    ) -> None:
        live = start_exchange()
        bought, lost = live.order().json()["id"], live.order(type="limit", limit_price="1.00").json()["id"]

        live.sim("POST", "jump", to="2007-01-10")

        assert live.trading.get_order_by_id(bought).status == "filled"
        assert live.trading.get_order_by_id(lost).status == "expired"
        assert live.trading.get_open_position("AAPL").qty == "10"

    @pytest.mark.parametrize("to", ["2007-01-02", "2013-03-02", "2031-01-01", "soon", "2007-99-99", None])
    def test_is_refused_when_it_leads_nowhere(self, live: LiveExchange, to: str | None) -> None:
        answer = live.send("POST", "/_sim/jump", json={"to": to}, headers={"X-Sim-Token": ADMIN_TOKEN})

        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
        assert now(live) == datetime(2007, 1, 3, 14, 30, tzinfo=UTC)


class TestClock:
    def test_stands_still_when_paused_however_often_it_is_asked(self, live: LiveExchange) -> None:
        assert live.sim("POST", "clock", mode="stepping")["mode"] == "stepping"

        assert len({now(live) for _ in range(20)}) == 1

    def test_walks_the_sessions_of_the_calendar_when_stepped(self, live: LiveExchange) -> None:
        seen = []
        for _ in range(12):
            live.step(to="close")
            seen.append(now(live))

        days = live.trading.get_calendar(GetCalendarRequest(start=date(2007, 1, 3), end=seen[-1].date()))
        assert [f"{at:%Y-%m-%d}" for at in seen] == [f"{day.date:%Y-%m-%d}" for day in days]


class TestHalt:
    def test_holds_orders_until_it_is_lifted_and_the_price_goes_on(self, live: LiveExchange) -> None:
        live.sim("POST", "halt", symbol="AAPL")
        order = live.order().json()["id"]
        request = StockLatestTradeRequest(symbol_or_symbols="AAPL")
        before = live.data.get_stock_latest_trade(request)["AAPL"].price

        live.step(ticks=5)
        held = live.trading.get_order_by_id(order).status
        live.sim("POST", "halt", symbol="AAPL", halted=False)
        live.step(ticks=2)

        assert held == "accepted"
        assert live.trading.get_order_by_id(order).status == "filled"
        assert live.data.get_stock_latest_trade(request)["AAPL"].price != before

    def test_silences_every_data_endpoint_until_it_is_lifted_also_after_a_restart(self, live: LiveExchange) -> None:
        live.step(ticks=2)
        halted_at = now(live)
        live.sim("POST", "halt", symbol="AAPL")
        before = prices(live)

        live.step(ticks=3)
        live.restart()
        while_halted = prices(live)
        lifted_at = now(live)
        live.sim("POST", "halt", symbol="AAPL", halted=False)
        live.step(ticks=2)

        assert while_halted["AAPL"] == before["AAPL"]
        assert while_halted["MSFT"] != before["MSFT"]
        for series in ("trades", "quotes", "bars"):
            found = today(live, series)
            assert found[0] < halted_at < lifted_at < found[-1]
            assert [each for each in found if halted_at < each < lifted_at] == []

    def test_leaves_the_equity_as_it_was(self, holding: LiveExchange) -> None:
        holding.sim("POST", "halt", symbol="AAPL")
        before = holding.trading.get_account().equity

        holding.step(ticks=10)

        assert holding.trading.get_account().equity == before

    def test_is_refused_for_a_crypto_pair(self, live: LiveExchange) -> None:
        answer = live.send("POST", "/_sim/halt", json={"symbol": "BTC/USD"}, headers={"X-Sim-Token": "admin"})

        assert (answer.status_code, answer.json()["message"]) == (422, "crypto pairs are never halted: halt a share")


class TestDeterminism:
    def test_two_exchanges_of_a_seed_answer_the_same_bytes(
        self, start_exchange: Callable[..., LiveExchange], tmp_path: Path, tape: Any
    ) -> None:
        paths = (
            "/v2/stocks/bars?symbols=AAPL,MSFT,IBM&timeframe=1Min&start=2007-01-03",
            "/v2/stocks/trades?symbols=AAPL&start=2007-01-03T14:30:00Z",
            "/v2/stocks/quotes?symbols=GOOG&start=2007-01-03T14:30:00Z",
            "/v2/stocks/snapshots?symbols=AAPL,GOOG",
            "/v1beta3/crypto/us/bars?symbols=BTC/USD,ETH/USD&timeframe=5Min&start=2007-01-03",
            "/v1beta1/news?start=2006-12-20&limit=50",
        )
        answers = []

        for folder in (tmp_path / "one", tmp_path / "two"):
            live = LiveExchange(folder, tape, start=date(2007, 1, 3), rate_limit=0)
            live.step(to="open")
            live.step(ticks=7)
            answers.append([live.send("GET", path).content for path in paths])
            live.stop()

        assert answers[0] == answers[1]
        assert all(len(answer) > 300 for answer in answers[0])


class TestExample:
    def test_trades_by_itself_and_earns_what_the_account_says(self, closed_market: LiveExchange) -> None:
        environment = {
            "ALPACA_BASE_URL": closed_market.url,
            "ALPACA_API_KEY": KEY_ID,
            "ALPACA_SECRET_KEY": SECRET_KEY,
            "EXCHANGE_ADMIN_TOKEN": ADMIN_TOKEN,
            "DAYS": "12",
        }

        ran = subprocess.run(
            [sys.executable, "-W", "ignore", str(EXAMPLE)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert ran.returncode == 0, ran.stderr
        assert re.search(r"^2007-01-\d\d: buy \d+ AAPL near \d+", ran.stdout, re.MULTILINE)
        assert ran.stdout.splitlines()[-1].startswith(
            f"2007-01-19: equity {closed_market.trading.get_account().equity}"
        )
