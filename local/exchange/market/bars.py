"""Bars of shares, of any timeframe: daily ones are real, shorter ones come from the synthetic path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache

from local.exchange.market.bar import (
    ONE,
    PRICE_STEP,
    Bar,
    Timeframe,
    bar_of_prints,
    grouped,
    in_buckets,
    merge,
    midnight,
    stretch_bar,
)
from local.exchange.market.calendar import NEW_YORK, PRE_OPEN, TICK, Moment
from local.exchange.market.intraday import MINUTE, MINUTES, PRINTS
from local.exchange.market.market import Market
from local.exchange.market.tape import Tape

DAYS_CACHED = 20_000  # the whole tape has 12,000 daily bars


def bars(
    market: Market,
    symbol: str,
    timeframe: Timeframe,
    *,
    now: Moment,
    start: datetime,
    end: datetime,
    split_adjusted: bool,
    dividend_adjusted: bool = False,
) -> Iterator[Bar]:
    """Iterate over a share's bars that begin between `start` and `end`, oldest first, nothing after `now`.

    The bar that `now` lies in is formed from what has traded so far; adjustments are for what
    happened until `now`.
    """
    find = _intraday if timeframe.is_intraday else _daily
    found = find(market, symbol, timeframe, now, start, end)
    if split_adjusted or dividend_adjusted:
        found = _adjusted(found, market.tape, symbol, _last_opened(now), split_adjusted, dividend_adjusted)
    source = found if timeframe.is_intraday else grouped(found, timeframe)
    return (bar for _, bar in source if start <= bar.at <= end)


def _adjusted(
    source: Iterable[tuple[int, Bar]], tape: Tape, symbol: str, until: int, splits: bool, dividends: bool
) -> Iterator[tuple[int, Bar]]:
    for session, bar in source:
        ratio = tape.splits_between(symbol, after=session, until=until) if splits else 1
        factor = tape.dividends_between(symbol, after=session, until=until) if dividends else ONE
        yield session, bar.adjusted(ratio, factor)


def latest_bar(market: Market, symbol: str, now: Moment) -> Bar | None:
    """Return a share's last complete minute in which it was not halted, if it has traded at all."""
    session, tick = _last_stretch(market, now)
    if session < market.tape.first_session(symbol):
        return None
    halt = market.halts.silencing(symbol, market.calendar[session].time_of(tick) - MINUTE)
    if halt is not None:
        return latest_bar(market, symbol, market.calendar.moment_at(halt.since))
    return _minute(market, symbol, session, tick * MINUTES - 1)


def _last_stretch(market: Market, now: Moment) -> tuple[int, int]:
    """Return the session of the last five minutes before `now`, and the tick that ended them."""
    if now.tick > 0:
        return now.session, now.tick
    return now.session - 1, market.calendar[now.session - 1].last_tick


def daily_bar(market: Market, symbol: str, session: int, now: Moment) -> Bar | None:
    """Return the bar of one session as far as `now` has come; None when nothing traded yet."""
    day = market.calendar[session]
    ticks = day.last_tick if session < now.session else now.tick
    if session < market.tape.first_session(symbol) or session > now.session or ticks <= 0:
        return None
    if ticks == day.last_tick and market.is_as_on_tape(symbol, session):
        return _real_day(market.tape, symbol, session)
    parts = _parts(market, symbol, session, ticks)
    return merge(midnight(day.date), parts) if parts else None


@lru_cache(DAYS_CACHED)
def _real_day(tape: Tape, symbol: str, session: int) -> Bar | None:
    real = tape.bar(symbol, session)
    if real is None:
        return None
    middle = (real.open + real.high + real.low + real.close) / 4
    return Bar(
        at=midnight(tape.calendar[session].date),
        open=real.open,
        high=real.high,
        low=real.low,
        close=real.close,
        volume=real.volume,
        trades=tape.calendar[session].last_tick * MINUTES * PRINTS if real.volume else 0,
        vwap=middle.quantize(PRICE_STEP),
    )


def _daily(
    market: Market, symbol: str, timeframe: Timeframe, now: Moment, start: datetime, end: datetime
) -> Iterator[tuple[int, Bar]]:
    # A weekly or monthly bar that begins inside the range may need days outside of it.
    reach = {"Day": 0, "Week": 7, "Month": 31 * timeframe.amount}[timeframe.unit]
    margin = timedelta(days=reach)
    for session in _sessions(market, symbol, now, start - margin, end + margin):
        bar = daily_bar(market, symbol, session, now)
        if bar is not None:
            yield session, bar


def _intraday(
    market: Market, symbol: str, timeframe: Timeframe, now: Moment, start: datetime, end: datetime
) -> Iterator[tuple[int, Bar]]:
    for session in _sessions(market, symbol, now, start, end):
        day = market.calendar[session]
        ticks = day.last_tick if session < now.session else max(0, now.tick)
        parts = _parts(market, symbol, session, ticks, by_minute=timeframe.is_fine)
        for bar in in_buckets(parts, midnight(day.date), timeframe.length):
            yield session, bar


def _parts(market: Market, symbol: str, session: int, ticks: int, *, by_minute: bool = False) -> list[Bar]:
    """Return a session's first `ticks` stretches of five minutes, or their minutes; none where it was silent."""
    if by_minute:
        parts = [_minute(market, symbol, session, minute) for minute in range(ticks * MINUTES)]
    else:
        parts = [_five_minutes(market, symbol, session, tick) for tick in range(ticks)]
    return [part for part in parts if part is not None]


def _sessions(market: Market, symbol: str, now: Moment, start: datetime, end: datetime) -> range:
    first = market.calendar.index_from(start.astimezone(NEW_YORK).date())
    last = market.calendar.index_from(end.astimezone(NEW_YORK).date() + timedelta(days=1)) - 1
    return range(max(first, market.tape.first_session(symbol)), min(last, now.session) + 1)


def _five_minutes(market: Market, symbol: str, session: int, tick: int) -> Bar | None:
    at = market.calendar[session].time_of(tick)
    if market.halts.touch(symbol, at, at + TICK):
        minutes = [_minute(market, symbol, session, tick * MINUTES + number) for number in range(MINUTES)]
        visible = [bar for bar in minutes if bar is not None]
        return merge(at, visible) if visible else None
    path = market.path(symbol, session)
    return stretch_bar(at, path.prices_cents, path.volumes, tick, MINUTES)


def _minute(market: Market, symbol: str, session: int, minute: int) -> Bar | None:
    at = market.calendar[session].opens + minute * MINUTE
    if market.halts.touch(symbol, at, at + MINUTE):
        found = market.prints(symbol, session, minute)
        return bar_of_prints(at, found) if found else None
    path = market.minutes(symbol, session)
    return stretch_bar(at, path.prices_cents, path.volumes, minute, 1)


def _last_opened(now: Moment) -> int:
    return now.session - 1 if now.tick == PRE_OPEN else now.session
