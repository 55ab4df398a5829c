"""The synthetic market: pinned to the real bars, the same for a seed, never ahead of time."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from local.exchange.market.bar import Timeframe
from local.exchange.market.bars import bars, daily_bar
from local.exchange.market.calendar import PRE_OPEN, Moment
from local.exchange.market.market import Market
from local.exchange.market.tape import Tape


def on(market: Market, day: date, tick: int = 0) -> Moment:
    return Moment(market.calendar.index_from(day), tick)


class TestPath:
    @pytest.mark.parametrize("symbol", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
    def test_keeps_to_the_real_bar_when_synthesized(self, market: Market, symbol: str) -> None:
        for session in range(market.tape.first_session(symbol), market.tape.last_session + 1, 97):
            bar, path = market.tape.bar(symbol, session), market.path(symbol, session)

            prices = path.prices_cents
            assert prices[0] == round(bar.open * 100)
            assert prices[-1] == round(bar.close * 100)
            assert (max(prices), min(prices)) == (round(bar.high * 100), round(bar.low * 100))
            assert sum(path.volumes) == bar.volume

    def test_is_the_same_in_any_order_when_the_seed_is_the_same(self, tape: Tape) -> None:
        first, second = Market(tape, seed=1), Market(tape, seed=1)
        session = tape.calendar.index_from(date(2008, 9, 15))

        later = [first.path("IBM", session), first.path("AAPL", session)]
        earlier = [second.path("AAPL", session), second.path("IBM", session)]

        assert later == earlier[::-1]

    def test_differs_when_the_seed_differs(self, tape: Tape) -> None:
        session = tape.calendar.index_from(date(2008, 9, 15))

        assert Market(tape, 1).path("IBM", session) != Market(tape, 2).path("IBM", session)

    def test_has_half_the_ticks_when_the_session_closes_early(self, market: Market) -> None:
        session = market.calendar.index_from(date(2007, 7, 3))

        assert len(market.path("AAPL", session).volumes) == 42


class TestTick:
    def test_is_the_last_close_when_the_session_has_not_opened(self, market: Market) -> None:
        tick = market.tick("AAPL", on(market, date(2007, 1, 3), PRE_OPEN))

        assert str(tick.trade) == "84.84"

    def test_has_a_spread_around_the_trade_at_every_tick(self, market: Market) -> None:
        ticks = [market.tick("AAPL", on(market, date(2007, 1, 3), n)) for n in range(79)]

        assert all(tick.bid < tick.trade < tick.ask for tick in ticks)


class TestBars:
    @pytest.mark.parametrize("text", ["1Day", "1Hour", "5Min", "1Week", "1Month"])
    def test_tell_nothing_of_the_future_when_read_in_mid_session(self, market: Market, text: str) -> None:
        now = on(market, date(2007, 1, 17), 30)
        start = market.calendar[now.session].opens - timedelta(days=20)
        end = market.calendar[now.session].closes + timedelta(days=30)
        read = {"start": start, "end": end, "split_adjusted": False}

        found = list(bars(market, "AAPL", Timeframe.parse(text), now=now, **read))

        assert found[-1].close == market.tick("AAPL", now).trade
        assert all(bar.at <= market.calendar.time_of(now) for bar in found)

    def test_have_none_for_today_when_the_market_is_just_opening(self, market: Market) -> None:
        now = on(market, date(2007, 1, 3))

        assert daily_bar(market, "AAPL", now.session, now) is None

    @pytest.mark.parametrize("text", ["", "1", "Day", "0Day", "2Day", "60Min", "5Month", "1Year"])
    def test_are_refused_when_the_timeframe_is_none_of_alpacas(self, text: str) -> None:
        with pytest.raises(ValueError, match="invalid timeframe"):
            Timeframe.parse(text)
