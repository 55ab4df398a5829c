"""What a halt keeps silent: nothing is printed in it, and everything that is shown agrees about that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from local.exchange.market.bar import Bar, Timeframe, merge
from local.exchange.market.bars import bars, daily_bar, latest_bar
from local.exchange.market.calendar import PRE_OPEN, TICK, Moment
from local.exchange.market.halts import Halt
from local.exchange.market.history import last_share_print, share_prints
from local.exchange.market.intraday import Print
from local.exchange.market.market import Market
from local.exchange.market.tape import Tape

AAPL = "AAPL"
SESSION = 1700  # a day in December 2006
SPLIT_SESSION_DAY = "2005-02-28"


@contextmanager
def halted(market: Market, *spans: tuple[datetime, datetime | None]) -> Iterator[None]:
    market.suspend(Halt(AAPL, *span) for span in spans)
    try:
        yield
    finally:
        market.suspend(())


def day_of(market: Market, text: str) -> list[Bar]:
    day = market.calendar[SESSION]
    now = Moment(SESSION, day.last_tick)
    found = bars(market, AAPL, Timeframe.parse(text), now=now, start=day.opens, end=day.closes, split_adjusted=False)
    return list(found)


def prints_of(market: Market) -> list[Print]:
    day = market.calendar[SESSION]
    return list(share_prints(market, AAPL, now=Moment(SESSION, day.last_tick), start=day.opens, end=day.closes))


def ohlcv(parts: list[Bar]) -> tuple[object, ...]:
    whole = merge(parts[0].at, parts)
    return whole.open, whole.high, whole.low, whole.close, whole.volume, whole.trades


def test_ticks_of_a_day_are_not_many(market: Market) -> None:
    assert market.calendar[SESSION].last_tick == 78  # what the strategies below rely on


@given(first=st.integers(0, 77), length=st.integers(1, 77))
@settings(max_examples=6, deadline=None)
def test_trades_make_up_minutes_and_minutes_the_day_with_a_halt_in_it(market: Market, first: int, length: int) -> None:
    day = market.calendar[SESSION]
    since, until = day.time_of(first), day.time_of(min(first + length, 78))
    whole = prints_of(market)

    with halted(market, (since, until)):
        found, minutes = prints_of(market), day_of(market, "1Min")
        fives, real_day = day_of(market, "5Min"), daily_bar(market, AAPL, SESSION, Moment(SESSION, 78))

    assert found == [each for each in whole if not since < each.at < until]
    assert sum(bar.volume for bar in minutes) == sum(each.size for each in found)
    assert real_day is not None
    assert ohlcv(minutes) == ohlcv(fives) == ohlcv([real_day])
    assert all(bar.at <= since or bar.at >= until for bar in minutes)


@given(first=st.integers(0, 77), seen=st.integers(0, 78))
@settings(max_examples=40, deadline=None)
def test_tick_stays_the_one_of_the_halt_and_nothing_newer_is_shown(market: Market, first: int, seen: int) -> None:
    halted_on, now = Moment(SESSION, first), Moment(SESSION, max(first, seen))
    before = (
        market.tick(AAPL, halted_on),
        last_share_print(market, AAPL, halted_on),
        latest_bar(market, AAPL, halted_on),
    )

    with halted(market, (market.calendar.time_of(halted_on), None)):
        shown = market.tick(AAPL, now), last_share_print(market, AAPL, now), latest_bar(market, AAPL, now)

    assert shown == before


def test_halt_over_night_shows_the_last_price_until_it_is_lifted(market: Market) -> None:
    day, following = market.calendar[SESSION], market.calendar[SESSION + 1]
    on, lifted_on = Moment(SESSION, 40), Moment(SESSION + 1, 10)

    with halted(market, (day.time_of(40), following.time_of(10))):
        seen = [market.tick(AAPL, Moment(SESSION + 1, tick)) for tick in (PRE_OPEN, 0, 9, 10)]
        close = market.close_before(AAPL, SESSION + 1)

    assert seen[:3] == [market.tick(AAPL, on)] * 3
    assert seen[3] == market.tick(AAPL, lifted_on)
    assert close == market.tick(AAPL, on).trade


def test_one_halt_after_another_shows_the_price_of_the_first_one_while_nothing_traded_between(market: Market) -> None:
    day = market.calendar[SESSION]
    evening = day.closes + TICK

    with halted(market, (day.time_of(40), evening), (evening + TICK, None)):
        seen = market.tick(AAPL, Moment(SESSION + 1, 5))

    assert seen == market.tick(AAPL, Moment(SESSION, 40))


def test_price_is_that_of_the_new_shares_when_a_split_falls_into_the_halt(market: Market, tape: Tape) -> None:
    split = next(n for n in range(len(tape.calendar)) if tape.calendar[n].date.isoformat() == SPLIT_SESSION_DAY)
    last = Moment(split - 1, tape.calendar[split - 1].last_tick)
    before = market.tick(AAPL, last).trade

    with halted(market, (tape.calendar.time_of(last), None)):
        eve, opened = (market.tick(AAPL, Moment(split, tick)).trade for tick in (PRE_OPEN, 0))

    assert (eve, opened) == (before, (before / 2).quantize(Decimal("0.01")))
