"""Odd requests for data: answered or refused, never a failure of the server, never a long wait."""

from __future__ import annotations

import base64

import pytest

from tests.integration.exchange.live import LiveExchange

PATHS = (
    "/v2/stocks/bars",
    "/v2/stocks/trades",
    "/v2/stocks/quotes",
    "/v2/stocks/snapshots",
    "/v2/stocks/trades/latest",
    "/v1beta3/crypto/us/bars",
    "/v1beta3/crypto/us/trades",
    "/v1beta3/crypto/us/snapshots",
    "/v1beta1/news",
    "/v1/corporate-actions",
    "/v2/corporate_actions/announcements",
    "/v2/assets",
    "/v2/calendar",
)


def token(at: str, symbol: str = "AAPL") -> str:
    return base64.b64encode(f"{symbol}|{at}".encode()).decode()


QUERIES = (
    "",
    "symbols=%00",
    "symbols=FB,,AAPL,BTC/USD",
    "symbols=AAPL,BTC/USD&start=0001-01-01&limit=5",
    "symbols=AAPL,BTC/USD&start=1900-01-01T00:00:00Z&limit=5",
    "symbols=AAPL,BTC/USD&start=9999-12-31T23:59:59Z",
    "symbols=AAPL,BTC/USD&start=9999-12-31&end=9999-12-31",
    "symbols=AAPL,BTC/USD&end=0001-01-01",
    "symbols=AAPL,BTC/USD&start=0001-01-01&timeframe=12Month",
    "symbols=AAPL,BTC/USD&start=2000-12-01&timeframe=1Min&sort=desc&limit=3",
    f"symbols=AAPL&page_token={token('9999-12-31T23:59:59+00:00')}",
    f"symbols=BTC/USD&start=2006-12-31&limit=5&page_token={token('0001-01-01T00:00:00+00:00', 'BTC/USD')}",
    f"symbols=AAPL&page_token={token('2007-01-03')}",
    "page_token=%ff",
    "start=soon",
    "sort=up",
    "limit=0",
    "ids=1,2",
    "ca_types=split&since=0001-01-01&until=0001-01-02",
)


@pytest.mark.parametrize("path", PATHS)
def test_every_odd_request_is_answered_or_refused(live: LiveExchange, path: str) -> None:
    answers = {query: live.send("GET", f"{path}?{query}", timeout=5) for query in QUERIES}

    wrong = {
        query: answer.status_code for query, answer in answers.items() if answer.status_code not in (200, 400, 422)
    }
    assert wrong == {}
    assert all(answer.json() is not None for answer in answers.values())


def test_minutes_of_years_come_backwards_in_the_order_of_their_pages(live: LiveExchange) -> None:
    path = "/v2/stocks/bars?symbols=AAPL&timeframe=1Min&start=2000-12-01&sort=desc&limit=400"
    first = live.send("GET", path).json()
    second = live.send("GET", f"{path}&page_token={first['next_page_token']}").json()

    times = [bar["t"] for bar in first["bars"]["AAPL"] + second["bars"]["AAPL"]]

    assert times[0] == "2006-12-29T20:59:00Z"
    assert times == sorted(set(times), reverse=True)
    assert len(times) == 800
