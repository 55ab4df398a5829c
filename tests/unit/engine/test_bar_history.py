from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.broker_types import MarketTime
from engine.service.bar_history import LOOKS_PER_BAR_MAX, BarHistory
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


def test_a_bar_that_is_not_there_yet_is_asked_for_again_and_then_not_for_ever(
    history: BarHistory, market_data: FakeMarketData
) -> None:
    market_data.history = hourly_bars(1, 2, 3)
    history.refresh(["AAPL"], "1Hour", at(0))

    for minutes in range(60, 70):
        history.refresh(["AAPL"], "1Hour", at(minutes))
    assert len(market_data.asked_bars) == 1 + LOOKS_PER_BAR_MAX
    assert history.is_settled("1Hour")


def test_a_bar_that_arrives_a_moment_late_is_taken_within_its_own_hour(
    history: BarHistory, market_data: FakeMarketData
) -> None:
    both = hourly_bars(1, 2, 3) + hourly_bars(4, 5, 6, symbol="IBM")
    market_data.history = [bar for bar in both if bar.at < NOON - timedelta(hours=1)]
    history.refresh(["AAPL", "IBM"], "1Hour", at(-30))
    market_data.history = both[:3]
    history.refresh(["AAPL", "IBM"], "1Hour", at(0))
    assert not history.is_settled("1Hour")

    market_data.history = both
    history.refresh(["AAPL", "IBM"], "1Hour", at(1))

    assert history.is_settled("1Hour")
    assert closes(history, "IBM") == [4, 5, 6]


def test_the_whole_history_is_fetched_anew_when_a_split_has_restated_it(
    history: BarHistory, market_data: FakeMarketData, authority: FakeAuthority
) -> None:
    market_data.history = hourly_bars(10, 20, 30)
    history.refresh(["AAPL"], "1Hour", at(0))

    market_data.history = [replace(bar, at=bar.at + timedelta(hours=1)) for bar in hourly_bars(10, 15, 20)]
    market_data.history = hourly_bars(5, 10, 15) + market_data.history[2:]
    history.refresh(["AAPL"], "1Hour", at(60))

    assert closes(history) == [5, 10, 15, 20]
    history.record()
    assert [int(bar.close) for bar in authority.bars][-4:] == [5, 10, 15, 20]


def test_todays_daily_bar_is_fetched_after_the_close_though_it_was_looked_for_before_the_opening(
    history: BarHistory, market_data: FakeMarketData
) -> None:
    day = hourly_bars(1)[0]
    yesterday = replace(day, timeframe="1Day", at=NOON.replace(hour=5) - timedelta(days=1))
    closes_at = NOON.replace(hour=21)
    market_data.history = [yesterday]
    history.refresh(["AAPL"], "1Day", MarketTime(NOON.replace(hour=13), is_open=False, closes_at=closes_at))
    history.refresh(["AAPL"], "1Day", MarketTime(NOON, is_open=True, closes_at=closes_at))

    market_data.history = [yesterday, replace(yesterday, at=NOON.replace(hour=5))]
    after = MarketTime(closes_at + timedelta(minutes=1), is_open=False, closes_at=closes_at + timedelta(days=1))
    history.refresh(["AAPL"], "1Day", after)

    last = history.last_bar("AAPL", "1Day")
    assert last is not None and last.at == NOON.replace(hour=5)
