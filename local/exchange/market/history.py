"""Trades and quotes of the past, in order of time and never ahead of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from local.exchange.market.calendar import NEW_YORK, TICK, Moment
from local.exchange.market.intraday import MINUTE, MINUTES, Print
from local.exchange.market.market import Market


def share_prints(
    market: Market, symbol: str, *, now: Moment, start: datetime, end: datetime, descending: bool = False
) -> Iterator[Print]:
    """Yield a share's trades from `start` to `end`, both included, and none after `now`."""
    calendar = market.calendar
    end = min(end, calendar.time_of(now))
    first = calendar.index_from(start.astimezone(NEW_YORK).date())
    last = calendar.index_from(end.astimezone(NEW_YORK).date() + timedelta(days=1)) - 1
    sessions = range(max(first, market.tape.first_session(symbol)), min(last, now.session) + 1)
    for session in _ordered(sessions, descending):
        day = calendar[session]
        for minute in _ordered(_minutes(day.opens, day.last_tick, start, end), descending):
            yield from _within(market.prints(symbol, session, minute), start, end, descending)


def crypto_prints(
    market: Market, symbol: str, *, now: datetime, start: datetime, end: datetime, descending: bool = False
) -> Iterator[Print]:
    """Yield a pair's trades from `start` to `end`, both included, and none after `now`."""
    end, series = min(end, now), market.crypto[symbol]
    days = range(series.index_of(start), series.index_of(end) + 1)
    for index in _ordered(days, descending):
        minutes = _minutes(series.starts(index), series.intervals(index), start, end)
        for minute in _ordered(minutes, descending):
            yield from _within(market.crypto_prints(symbol, index, minute), start, end, descending)


def last_share_print(market: Market, symbol: str, now: Moment) -> Print | None:
    """Return the last trade of a share at or before `now`; None if there was none yet."""
    now = market.last_printed(symbol, now)
    for session in range(now.session, market.tape.first_session(symbol) - 1, -1):
        ticks = market.calendar[session].last_tick
        if session == now.session:
            ticks = min(now.tick, ticks)
            if 0 <= now.tick < market.calendar[session].last_tick:
                first = market.prints(symbol, session, ticks * MINUTES)[:1]
                if first:
                    return first[0]
        for minute in range(ticks * MINUTES - 1, -1, -1):
            found = market.prints(symbol, session, minute)
            if found:
                return found[-1]
    return None


def last_crypto_print(market: Market, symbol: str, now: datetime) -> Print:
    """Return the last trade of a pair at or before `now`."""
    series = market.crypto[symbol]
    index = series.index_of(now)
    return market.crypto_prints(symbol, index, (now - series.starts(index)) // MINUTE)[0]


def _minutes(opens: datetime, ticks: int, start: datetime, end: datetime) -> range:
    count = ticks * TICK // MINUTE
    return range(max(0, (start - opens) // MINUTE), min(count, (end - opens) // MINUTE + 1))


def _ordered(numbers: range, descending: bool) -> range:
    return numbers[::-1] if descending else numbers


def _within(found: list[Print], start: datetime, end: datetime, descending: bool) -> list[Print]:
    inside = [each for each in found if start <= each.at <= end]
    return inside[::-1] if descending else inside
