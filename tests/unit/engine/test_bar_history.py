from datetime import timedelta

import pytest

from engine.domain.broker_types import MarketTime
from engine.service.bar_history import BarHistory
from tests.unit.engine.builders import MARKET, NOON, hourly_bars
from tests.unit.engine.fakes import FakeAuthority, FakeMarketData


@pytest.fixture
def history(market_data: FakeMarketData, authority: FakeAuthority) -> BarHistory:
    return BarHistory(market_data, authority)


def at(minutes: int) -> MarketTime:
    return MarketTime(NOON + timedelta(minutes=minutes), is_open=True)


def closes(history: BarHistory, symbol: str = "AAPL") -> list[float]:
    return history.bars("1Hour").select([symbol]).close[:, 0].tolist()


def test_a_bar_counts_only_when_it_is_complete(history: BarHistory, market_data: FakeMarketData) -> None:
    market_data.history = hourly_bars(1, 2, 3)

    history.refresh(["AAPL"], "1Hour", at(-30))

    assert closes(history) == [1, 2]


def test_nothing_is_fetched_when_no_bar_has_ended_since(history: BarHistory, market_data: FakeMarketData) -> None:
    market_data.history = hourly_bars(1, 2, 3)

    for minutes in (0, 10, 59):
        history.refresh(["AAPL"], "1Hour", at(minutes))
    assert len(market_data.asked_bars) == 1
    history.refresh(["AAPL"], "1Hour", at(60))

    assert len(market_data.asked_bars) == 2


def test_a_bar_is_kept_once_when_it_is_fetched_twice(
    history: BarHistory, market_data: FakeMarketData, authority: FakeAuthority
) -> None:
    market_data.history = hourly_bars(1, 2, 3)
    history.refresh(["AAPL"], "1Hour", at(0))
    history.refresh(["AAPL"], "1Hour", at(60))

    history.record()
    history.record()

    assert closes(history) == [1, 2, 3]
    assert len(authority.bars) == 3


def test_the_whole_history_is_fetched_when_a_symbol_is_new(history: BarHistory, market_data: FakeMarketData) -> None:
    market_data.history = hourly_bars(1, 2, 3) + hourly_bars(4, 5, 6, symbol="IBM")
    history.refresh(["AAPL"], "1Hour", MARKET)

    history.refresh(["AAPL", "IBM"], "1Hour", MARKET)

    assert closes(history, "IBM") == [4, 5, 6]


def test_a_late_bar_is_still_taken_when_another_symbol_was_ahead(
    history: BarHistory, market_data: FakeMarketData
) -> None:
    ahead, both = hourly_bars(1, 2, 3), hourly_bars(5, 6, symbol="IBM")
    market_data.history = [*ahead, both[0]]
    history.refresh(["AAPL", "IBM"], "1Hour", MARKET)
    market_data.history = [*ahead, *both]

    history.refresh(["AAPL", "IBM"], "1Hour", at(60))

    assert closes(history, "IBM")[-1] == 6


def test_todays_daily_bar_waits_when_the_market_is_open(history: BarHistory, market_data: FakeMarketData) -> None:
    midnight = NOON.replace(hour=5)
    today = hourly_bars(1)[0]
    market_data.history = [type(today)("AAPL", "1Day", midnight, *[today.close] * 4, volume=today.volume)]

    history.refresh(["AAPL"], "1Day", MARKET)
    assert history.last_bar("AAPL", "1Day") is None
    history.refresh(["AAPL"], "1Day", MarketTime(NOON.replace(hour=21), is_open=False))

    assert history.last_bar("AAPL", "1Day") is not None
