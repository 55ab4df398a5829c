"""Bars of the crypto pairs, of any timeframe; all of them synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from local.exchange.market.bar import PRICE_STEP, Bar, Timeframe, grouped, in_buckets, merge, stretch_bar
from local.exchange.market.calendar import TICK
from local.exchange.market.crypto import CENTRAL, LOTS
from local.exchange.market.intraday import MINUTE, MINUTES, PRINTS
from local.exchange.market.market import Market
from local.exchange.market.path import SessionPath


def crypto_bars(
    market: Market, symbol: str, timeframe: Timeframe, *, now: datetime, start: datetime, end: datetime
) -> Iterator[Bar]:
    """Yield the bars that begin between `start` and `end`, oldest first, nothing after `now`."""
    margin = {"Week": 7, "Month": 31 * timeframe.amount}.get(timeframe.unit, 0)
    first = start - timedelta(days=margin)
    last = min(end + timedelta(days=margin), now)
    if timeframe.is_intraday:
        source = _intraday(market, symbol, timeframe, now, first, last)
    else:
        source = (bar for _, bar in grouped(_daily(market, symbol, now, first, last), timeframe, CENTRAL))
    for bar in source:
        if start <= bar.at <= end and bar.at < now:
            yield bar


def latest_crypto_bar(market: Market, symbol: str, now: datetime) -> Bar:
    """Return the last complete minute."""
    before = now - MINUTE
    day = market.crypto_day(symbol, market.crypto[symbol].index_of(before))
    minute = (before - day.starts) // MINUTE
    at = day.starts + minute * MINUTE
    return stretch_bar(at, day.minutes.prices_cents, day.minutes.volumes, minute, 1, LOTS)


def crypto_day_bar(market: Market, symbol: str, index: int, now: datetime) -> Bar | None:
    """Return the bar of one day as far as `now` has come; None when nothing traded yet."""
    series = market.crypto[symbol]
    starts = series.starts(index)
    ticks = min((now - starts) // TICK, series.intervals(index))
    if index < 0 or ticks <= 0:
        return None
    if ticks == series.intervals(index) and not market.is_disturbed(symbol):
        return _whole_day(market, symbol, index)
    day = market.crypto_day(symbol, index)
    return merge(starts, [_five_minutes(day.starts, day.path, tick) for tick in range(ticks)])


def _whole_day(market: Market, symbol: str, index: int) -> Bar:
    series = market.crypto[symbol]
    day = series.bar(index)
    middle = (day.open + day.high + day.low + day.close) / 4
    return Bar(
        at=series.starts(index),
        open=day.open,
        high=day.high,
        low=day.low,
        close=day.close,
        volume=Decimal(day.volume) / LOTS,
        trades=series.intervals(index) * MINUTES * PRINTS,
        vwap=middle.quantize(PRICE_STEP),
    )


def _daily(market: Market, symbol: str, now: datetime, start: datetime, end: datetime) -> Iterator[tuple[int, Bar]]:
    series = market.crypto[symbol]
    for index in range(series.index_of(start), series.index_of(end) + 1):
        bar = crypto_day_bar(market, symbol, index, now)
        if bar is not None:
            yield index, bar


def _intraday(
    market: Market, symbol: str, timeframe: Timeframe, now: datetime, start: datetime, end: datetime
) -> Iterator[Bar]:
    series = market.crypto[symbol]
    for index in range(series.index_of(start), series.index_of(end) + 1):
        day = market.crypto_day(symbol, index)
        ticks = min((now - day.starts) // TICK, len(day.path.volumes))
        if timeframe.is_fine:
            minutes = day.minutes
            parts = (
                stretch_bar(day.starts + n * MINUTE, minutes.prices_cents, minutes.volumes, n, 1, LOTS)
                for n in range(ticks * MINUTES)
            )
        else:
            parts = (_five_minutes(day.starts, day.path, tick) for tick in range(ticks))
        yield from in_buckets(parts, day.starts, timeframe.length)


def _five_minutes(starts: datetime, path: SessionPath, tick: int) -> Bar:
    return stretch_bar(starts + tick * TICK, path.prices_cents, path.volumes, tick, MINUTES, LOTS)
