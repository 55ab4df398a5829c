"""Bars of any timeframe: daily ones are real, shorter ones come from the synthetic path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby

from local.exchange.market.calendar import NEW_YORK, PRE_OPEN, Moment
from local.exchange.market.market import Market
from local.exchange.market.path import CENT
from local.exchange.market.tape import Tape

DAYS_CACHED = 20_000  # the whole tape has 12,000 daily bars
PRICE_STEP = Decimal("0.0001")
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
    def is_simulated(self) -> bool:
        """Tell whether the five-minute tape can form this bar."""
        return self.unit != "Min" or self.amount % 5 == 0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `at` is its start (aware), prices in US dollars, volume in shares."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    trades: int
    vwap: Decimal

    def split_by(self, ratio: int) -> Bar:
        """Return the bar in the shares of after a split of `ratio` new for one old."""
        if ratio == 1:
            return self
        prices = {
            name: (getattr(self, name) / ratio).quantize(PRICE_STEP)
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
) -> Iterator[Bar]:
    """Yield the bars that begin between `start` and `end`, oldest first, nothing after `now`.

    The bar that `now` lies in is formed from what has traded so far.
    """
    source = _intraday(market, symbol, timeframe, now, start, end)
    if not timeframe.is_intraday:
        source = _grouped(_daily(market, symbol, timeframe, now, start, end), timeframe)
    for session, bar in source:
        if not start <= bar.at <= end:
            continue
        if split_adjusted:
            ratio = market.tape.splits_between(symbol, after=session, until=_last_opened(now))
            bar = bar.split_by(ratio)
        yield bar


def latest_bar(market: Market, symbol: str, now: Moment) -> Bar | None:
    """Return the last complete five-minute bar, if the symbol has traded at all."""
    session = now.session if now.tick > 0 else now.session - 1
    if session < market.tape.first_session(symbol):
        return None
    tick = now.tick if now.tick > 0 else market.calendar[session].last_tick
    return _five_minutes(market, symbol, session, tick - 1)


def daily_bar(market: Market, symbol: str, session: int, now: Moment) -> Bar | None:
    """Return the bar of one session as far as `now` has come; None when nothing traded yet."""
    day = market.calendar[session]
    ticks = day.last_tick if session < now.session else now.tick
    if session < market.tape.first_session(symbol) or session > now.session or ticks <= 0:
        return None
    if ticks == day.last_tick and not market.is_shocked(symbol, session):
        return _real_day(market.tape, symbol, session)
    parts = [_five_minutes(market, symbol, session, tick) for tick in range(ticks)]
    return _merge(_midnight(day.date), parts)


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
        trades=_trades(real.volume),
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
    length = timedelta(**{"minutes" if timeframe.unit == "Min" else "hours": timeframe.amount})
    for session in _sessions(market, symbol, now, start, end):
        day = market.calendar[session]
        ticks = day.last_tick if session < now.session else max(0, now.tick)
        midnight = _midnight(day.date)
        parts = [_five_minutes(market, symbol, session, tick) for tick in range(ticks)]
        for bucket, group in groupby(parts, key=lambda bar: (bar.at - midnight) // length):
            yield session, _merge(midnight + bucket * length, list(group))


def _sessions(market: Market, symbol: str, now: Moment, start: datetime, end: datetime) -> range:
    first = market.calendar.index_from(start.astimezone(NEW_YORK).date())
    last = market.calendar.index_from(end.astimezone(NEW_YORK).date() + timedelta(days=1)) - 1
    return range(max(first, market.tape.first_session(symbol)), min(last, now.session) + 1)


def _grouped(daily: Iterable[tuple[int, Bar]], timeframe: Timeframe) -> Iterator[tuple[int, Bar]]:
    if timeframe.unit == "Day":
        yield from daily
        return
    for first_day, group in groupby(daily, key=lambda item: _period(item[1].at.date(), timeframe)):
        sessions, parts = zip(*group, strict=True)
        yield sessions[-1], _merge(_midnight(first_day), list(parts))


def _period(day: date, timeframe: Timeframe) -> date:
    if timeframe.unit == "Week":
        return day - timedelta(days=day.weekday())
    month = (day.month - 1) // timeframe.amount * timeframe.amount + 1
    return day.replace(month=month, day=1)


def _five_minutes(market: Market, symbol: str, session: int, tick: int) -> Bar:
    path = market.path(symbol, session)
    begin, end = (Decimal(path.prices_cents[number]).scaleb(-2) for number in (tick, tick + 1))
    volume = path.volumes[tick]
    return Bar(
        at=market.calendar[session].time_of(tick),
        open=begin,
        high=max(begin, end),
        low=min(begin, end),
        close=end,
        volume=volume,
        trades=_trades(volume),
        vwap=((begin + end) / 2).quantize(CENT),
    )


def _merge(at: datetime, parts: list[Bar]) -> Bar:
    volume = sum(part.volume for part in parts)
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


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def _trades(volume: int) -> int:
    return max(1, volume // 200)


def _last_opened(now: Moment) -> int:
    return now.session - 1 if now.tick == PRE_OPEN else now.session
