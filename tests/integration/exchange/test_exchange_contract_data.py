"""Every method of the unmodified data clients and of the stream: what it answers, or that it is not there."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import wraps
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.data.enums import MarketType, MostActivesBy
from alpaca.data.historical import (
    CryptoHistoricalDataClient,
    NewsClient,
    OptionHistoricalDataClient,
    ScreenerClient,
    StockHistoricalDataClient,
)
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    MarketMoversRequest,
    MostActivesRequest,
    NewsRequest,
    OptionBarsRequest,
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    OptionTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.stream import TradingStream

from local.exchange.market.tape import Tape
from tests.integration.exchange.live import KEY_ID, SECRET_KEY, LiveExchange

AAPL, BITCOIN = {"symbol_or_symbols": "AAPL"}, {"symbol_or_symbols": "BTC/USD"}
OPTION = {"symbol_or_symbols": "AAPL070119C00080000"}
NOW = {"start": datetime(2007, 1, 3, 14, 30, tzinfo=UTC)}
YEAR = {"start": date(2006, 1, 1), "end": date(2006, 12, 31)}

# What each method asks for, and the key that its answer has.
ANSWERED: dict[type[Any], dict[str, tuple[Any, str]]] = {
    StockHistoricalDataClient: {
        "get_stock_bars": (StockBarsRequest(**AAPL, **NOW, timeframe=TimeFrame.Minute), "AAPL"),
        "get_stock_quotes": (StockQuotesRequest(**AAPL, **NOW), "AAPL"),
        "get_stock_trades": (StockTradesRequest(**AAPL, **NOW), "AAPL"),
        "get_stock_latest_bar": (StockLatestBarRequest(**AAPL), "AAPL"),
        "get_stock_latest_quote": (StockLatestQuoteRequest(**AAPL), "AAPL"),
        "get_stock_latest_trade": (StockLatestTradeRequest(**AAPL), "AAPL"),
        "get_stock_snapshot": (StockSnapshotRequest(**AAPL), "AAPL"),
    },
    CryptoHistoricalDataClient: {
        "get_crypto_bars": (CryptoBarsRequest(**BITCOIN, **NOW, timeframe=TimeFrame.Minute), "BTC/USD"),
        "get_crypto_quotes": (CryptoQuoteRequest(**BITCOIN, **NOW), "BTC/USD"),
        "get_crypto_trades": (CryptoTradesRequest(**BITCOIN, **NOW), "BTC/USD"),
        "get_crypto_latest_bar": (CryptoLatestBarRequest(**BITCOIN), "BTC/USD"),
        "get_crypto_latest_quote": (CryptoLatestQuoteRequest(**BITCOIN), "BTC/USD"),
        "get_crypto_latest_trade": (CryptoLatestTradeRequest(**BITCOIN), "BTC/USD"),
        "get_crypto_latest_orderbook": (CryptoLatestOrderbookRequest(**BITCOIN), "BTC/USD"),
        "get_crypto_snapshot": (CryptoSnapshotRequest(**BITCOIN), "BTC/USD"),
    },
    NewsClient: {"get_news": (NewsRequest(start=datetime(2006, 12, 1, tzinfo=UTC), limit=5), "news")},
    CorporateActionsClient: {"get_corporate_actions": (CorporateActionsRequest(**YEAR), "cash_dividends")},
}
# What Alpaca has and the paper exchange has not.
ABSENT: dict[type[Any], dict[str, Any]] = {
    ScreenerClient: {
        "get_market_movers": MarketMoversRequest(market_type=MarketType.STOCKS),
        "get_most_actives": MostActivesRequest(by=MostActivesBy.VOLUME),
    },
    OptionHistoricalDataClient: {
        "get_option_bars": OptionBarsRequest(**OPTION, timeframe=TimeFrame.Day),
        "get_option_chain": OptionChainRequest(underlying_symbol="AAPL"),
        "get_option_exchange_codes": None,
        "get_option_latest_quote": OptionLatestQuoteRequest(**OPTION),
        "get_option_latest_trade": OptionLatestTradeRequest(**OPTION),
        "get_option_snapshot": OptionSnapshotRequest(**OPTION),
        "get_option_trades": OptionTradesRequest(**OPTION),
    },
}
BASE = {name for name, _ in inspect.getmembers(RESTClient, inspect.isfunction) if not name.startswith("_")}


def public(client: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}


def called(live: LiveExchange, client: type[Any], method: str, request: Any) -> Any:
    made = client(KEY_ID, SECRET_KEY, url_override=live.url)
    made._retry = 0
    return getattr(made, method)(*([request] if request is not None else []))


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory, tape: Tape) -> Iterator[LiveExchange]:
    """An exchange ten minutes after the open; these tests only read."""
    live = LiveExchange(tmp_path_factory.mktemp("data"), tape)
    live.step(to="open")
    live.step(ticks=2)
    yield live
    live.stop()


@pytest.mark.parametrize(
    ("client", "method"), [(client, method) for client, methods in ANSWERED.items() for method in methods]
)
def test_method_is_answered_with_what_was_asked_for(traded: LiveExchange, client: type, method: str) -> None:
    request, key = ANSWERED[client][method]

    answer = called(traded, client, method, request)

    assert (answer if isinstance(answer, dict) else answer.data)[key]


@pytest.mark.parametrize(
    ("client", "method"), [(client, method) for client, methods in ABSENT.items() for method in methods]
)
def test_method_that_is_not_simulated_is_answered_with_501(traded: LiveExchange, client: type, method: str) -> None:
    with pytest.raises(APIError) as refused:
        called(traded, client, method, ABSENT[client][method])

    assert refused.value.status_code == 501
    assert "not simulated by the paper exchange" in str(refused.value)


@pytest.mark.parametrize("client", [*ANSWERED, *ABSENT])
def test_every_method_of_the_client_is_accounted_for(client: type) -> None:
    assert public(client) == {*ANSWERED.get(client, {}), *ABSENT.get(client, {}), *BASE}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client uses websockets.legacy
def test_every_method_of_the_stream_works_in_its_life(live: LiveExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    for name in public(TradingStream):
        monkeypatch.setattr(TradingStream, name, noted(used, name, getattr(TradingStream, name)))
    heard = threading.Event()

    async def hear(_: object) -> None:
        heard.set()

    stream = TradingStream(KEY_ID, SECRET_KEY, url_override=live.url.replace("http", "ws") + "/stream")
    stream.subscribe_trade_updates(hear)
    running = threading.Thread(target=stream.run)
    running.start()
    deadline = time.monotonic() + 10
    while not heard.is_set() and time.monotonic() < deadline:
        live.order(qty="1")
        heard.wait(0.1)
    stream.stop()
    live.order(qty="1")  # the client sees that it should stop when something arrives
    running.join(15)

    assert heard.is_set()
    assert not running.is_alive()
    assert used == public(TradingStream)


def noted(used: set[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def note(*args: Any, **options: Any) -> Any:
        used.add(name)
        return method(*args, **options)

    return note
