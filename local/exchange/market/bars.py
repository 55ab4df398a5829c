"""Bars of any timeframe: daily ones of shares are real, shorter ones come from the synthetic path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo

from local.exchange.market.calendar import NEW_YORK, PRE_OPEN, Moment
from local.exchange.market.intraday import MINUTE, MINUTES, PRINTS
from local.exchange.market.market import Market
from local.exchange.market.tape import CENT, Tape

DAYS_CACHED = 20_000  # the whole tape has 12,000 daily bars
PRICE_STEP = Decimal("0.0001")
ONE = Decimal(1)
_TIMEFRAME = re.compile(r"(\d+)(Min|T|Hour|H|Day|D|Week|W|Month|M)")
_UNITS = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_LIMITS = {"Min": 59, "Hour": 23, "Day": 1, "Week": 1, "Month": 12}


@dataclass(frozen=True, slots=True)
class Timeframe:
    """A bar's length, such as 15 Min or 1 Day."""

    amount: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Read Alpaca's notation (`5Min`, `1Hour`, `1Day`, ...); raise ValueError otherwise."""
        match = _TIMEFRAME.fullmatch(text)
        if match is None:
            raise ValueError(f"invalid timeframe: {text}")
        unit = _UNITS.get(match[2], match[2])
        if not 1 <= int(match[1]) <= _LIMITS[unit] or (unit == "Month" and 12 % int(match[1])):
            raise ValueError(f"invalid timeframe: {text}")
        return cls(int(match[1]), unit)

    @property
    def is_intraday(self) -> bool:
        return self.unit in ("Min", "Hour")

    @property
    def is_fine(self) -> bool:
        """Tell whether the bar needs to know what happens inside a tick."""
        return self.unit == "Min" and self.amount % MINUTES != 0

    @property
    def length(self) -> timedelta:
        """The length of an intraday bar."""
        return timedelta(**{"minutes" if self.unit == "Min" else "hours": self.amount})


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `at` is its start (aware), prices in US dollars, volume in shares or coins."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int | Decimal
    trades: int
    vwap: Decimal

    def adjusted(self, ratio: int, factor: Decimal = ONE) -> Bar:
        """Return the bar in the shares of after a split of `ratio` new for one old.

        `factor` takes dividends out of the prices besides.
        """
        if ratio == 1 and factor == 1:
            return self
        prices = {
            name: (getattr(self, name) * factor / ratio).quantize(PRICE_STEP)
            for name in ("open", "high", "low", "close", "vwap")
        }
        return replace(self, volume=self.volume * ratio, **prices)


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
    """Return a share's last complete minute, if it has traded at all."""
    session = now.session if now.tick > 0 else now.session - 1
    if session < market.tape.first_session(symbol):
        return None
    tick = now.tick if now.tick > 0 else market.calendar[session].last_tick
    return _minute(market, symbol, session, tick * MINUTES - 1)


def daily_bar(market: Market, symbol: str, session: int, now: Moment) -> Bar | None:
    """Return the bar of one session as far as `now` has come; None when nothing traded yet."""
    day = market.calendar[session]
    ticks = day.last_tick if session < now.session else now.tick
    if session < market.tape.first_session(symbol) or session > now.session or ticks <= 0:
        return None
    if ticks == day.last_tick and not market.is_shocked(symbol, session):
        return _real_day(market.tape, symbol, session)
    parts = [_five_minutes(market, symbol, session, tick) for tick in range(ticks)]
    return merge(_midnight(day.date), parts)


@lru_cache(DAYS_CACHED)
def _real_day(tape: Tape, symbol: str, session: int) -> Bar | None:
    real = tape.bar(symbol, session)
    if real is None:
        return None
    middle = (real.open + real.high + real.low + real.close) / 4
    return Bar(
        at=_midnight(tape.calendar[session].date),
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
        if timeframe.is_fine:
            parts = [_minute(market, symbol, session, minute) for minute in range(ticks * MINUTES)]
        else:
            parts = [_five_minutes(market, symbol, session, tick) for tick in range(ticks)]
        for bar in in_buckets(parts, _midnight(day.date), timeframe.length):
            yield session, bar


def in_buckets(parts: Iterable[Bar], midnight: datetime, length: timedelta) -> Iterator[Bar]:
    """Yield bars of `length`, counted from midnight, made of shorter ones."""
    for bucket, group in groupby(parts, key=lambda bar: (bar.at - midnight) // length):
        yield merge(midnight + bucket * length, list(group))


def _sessions(market: Market, symbol: str, now: Moment, start: datetime, end: datetime) -> range:
    first = market.calendar.index_from(start.astimezone(NEW_YORK).date())
    last = market.calendar.index_from(end.astimezone(NEW_YORK).date() + timedelta(days=1)) - 1
    return range(max(first, market.tape.first_session(symbol)), min(last, now.session) + 1)


def grouped(
    daily: Iterable[tuple[int, Bar]], timeframe: Timeframe, zone: ZoneInfo = NEW_YORK
) -> Iterator[tuple[int, Bar]]:
    """Yield weeks or months made of days, each with its last day's number; days stay as they are."""
    if timeframe.unit == "Day":
        yield from daily
        return
    for first_day, group in groupby(daily, key=lambda item: _period(item[1].at.astimezone(zone).date(), timeframe)):
        sessions, parts = zip(*group, strict=True)
        yield sessions[-1], merge(_midnight(first_day, zone), list(parts))


def _period(day: date, timeframe: Timeframe) -> date:
    if timeframe.unit == "Week":
        return day - timedelta(days=day.weekday())
    month = (day.month - 1) // timeframe.amount * timeframe.amount + 1
    return day.replace(month=month, day=1)


def _five_minutes(market: Market, symbol: str, session: int, tick: int) -> Bar:
    path = market.path(symbol, session)
    return stretch_bar(market.calendar[session].time_of(tick), path.prices_cents, path.volumes, tick, MINUTES)


def _minute(market: Market, symbol: str, session: int, minute: int) -> Bar:
    path = market.minutes(symbol, session)
    at = market.calendar[session].opens + minute * MINUTE
    return stretch_bar(at, path.prices_cents, path.volumes, minute, 1)


def stretch_bar(
    at: datetime, prices_cents: Sequence[int], volumes: Sequence[int], number: int, minutes: int, lots: int = 1
) -> Bar:
    """Return the bar from one price of a path to the next one; `lots` make a share or a coin."""
    begin, end = Decimal(prices_cents[number]).scaleb(-2), Decimal(prices_cents[number + 1]).scaleb(-2)
    volume = volumes[number]
    return Bar(
        at=at,
        open=begin,
        high=max(begin, end),
        low=min(begin, end),
        close=end,
        volume=volume if lots == 1 else Decimal(volume) / lots,
        trades=min(minutes * PRINTS, volume),
        vwap=((begin + end) / 2).quantize(CENT),
    )


def merge(at: datetime, parts: list[Bar]) -> Bar:
    """Return the bar that starts at `at` and consists of `parts`, which are in order."""
    if len(parts) == 1:
        return parts[0] if parts[0].at == at else replace(parts[0], at=at)
    volume = sum((part.volume for part in parts[1:]), parts[0].volume)
    traded = sum((part.vwap * part.volume for part in parts), Decimal(0))
    return Bar(
        at=at,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=volume,
        trades=sum(part.trades for part in parts),
        vwap=(traded / volume if volume else parts[-1].close).quantize(PRICE_STEP),
    )


def _midnight(day: date, zone: ZoneInfo = NEW_YORK) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _last_opened(now: Moment) -> int:
    return now.session - 1 if now.tick == PRE_OPEN else now.session
