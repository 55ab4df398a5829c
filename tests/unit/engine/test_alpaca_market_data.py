"""Market data of many symbols: asked for in lists that every server takes, and none hides another."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.adapters.alpaca_market_data import SYMBOLS_MAX, AlpacaMarketData
from engine.domain.errors import BrokerRefused
from tests.unit.engine.test_alpaca_broker import api_error

START = datetime(2026, 1, 5, tzinfo=UTC)
QUOTE = {"bp": 99.5, "ap": 100.5, "t": "2026-01-05T15:00:00Z"}
BAR = {"t": "2026-01-05T15:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 10}


class Alpaca:
    """Answers for the symbols it is asked for, and refuses a request that names a pair, as the stock data do."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        symbols = query["symbols"].split(",")
        self.asked.append(symbols)
        assert all(symbol and "/" not in symbol for symbol in symbols), "the whole request is refused"
        if "quotes" in path:
            return {"quotes": dict.fromkeys(symbols, QUOTE)}
        return {"bars": {symbol: [BAR] for symbol in symbols}, "next_page_token": None}


@pytest.fixture
def alpaca() -> Alpaca:
    return Alpaca()


@pytest.fixture
def data(alpaca: Alpaca) -> AlpacaMarketData:
    data = AlpacaMarketData(base_url="http://127.0.0.1:9", data_url="http://127.0.0.1:9", api_key="k", secret_key="s")
    data._data = alpaca  # type: ignore[assignment]
    return data


@pytest.mark.parametrize("count", [0, 1, SYMBOLS_MAX, SYMBOLS_MAX + 1, 5000])
def test_any_number_of_symbols_is_asked_for_in_lists_of_bounded_length(alpaca, data, count):
    symbols = {f"S{n}" for n in range(count)}

    assert set(data.quotes(symbols)) == symbols
    assert {bar.symbol for bar in data.bars(symbols, "1Day", START)} == symbols
    assert max(map(len, alpaca.asked), default=0) <= SYMBOLS_MAX


def test_a_refusal_names_the_feed_and_not_the_keys_alone(data, monkeypatch):
    def refuse(*_: Any) -> None:
        raise api_error(403, '{"message": "subscription does not permit querying recent SIP data"}')

    monkeypatch.setattr(data._data, "get", refuse, raising=False)

    with pytest.raises(BrokerRefused, match="ALPACA_FEED"):
        data.quotes(["AAPL"])


def test_a_pair_of_currencies_does_not_hide_the_shares(alpaca, data):
    assert set(data.quotes(["BTC/USD", "BRK.B", "AAPL"])) == {"AAPL", "BRK.B"}
    assert [bar.symbol for bar in data.bars(["BTC/USD", "AAPL"], "1Day", START)] == ["AAPL"]


def test_nothing_is_asked_for_when_there_are_pairs_alone(alpaca, data):
    assert data.quotes(["BTC/USD"]) == {}
    assert alpaca.asked == []
