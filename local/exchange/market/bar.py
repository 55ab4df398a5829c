"""What a bar is: its timeframe, its shape, and how longer bars are made of shorter ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from zoneinfo import ZoneInfo

from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.intraday import MINUTES, PRINTS, Print
from local.exchange.market.tape import CENT

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


def bar_of_prints(at: datetime, found: Sequence[Print]) -> Bar:
    """Return the bar that starts at `at` and consists of single trades of shares, at least one."""
    cents, volume = [each.cents for each in found], sum(each.size for each in found)
    traded = Decimal(sum(each.cents * each.size for each in found)) / volume
    return Bar(
        at=at,
        open=Decimal(cents[0]).scaleb(-2),
        high=Decimal(max(cents)).scaleb(-2),
        low=Decimal(min(cents)).scaleb(-2),
        close=Decimal(cents[-1]).scaleb(-2),
        volume=volume,
        trades=len(found),
        vwap=traded.scaleb(-2).quantize(PRICE_STEP),
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


def in_buckets(parts: Iterable[Bar], since: datetime, length: timedelta) -> Iterator[Bar]:
    """Yield bars of `length`, counted from midnight, made of shorter ones."""
    for bucket, group in groupby(parts, key=lambda bar: (bar.at - since) // length):
        yield merge(since + bucket * length, list(group))


def grouped(
    daily: Iterable[tuple[int, Bar]], timeframe: Timeframe, zone: ZoneInfo = NEW_YORK
) -> Iterator[tuple[int, Bar]]:
    """Yield weeks or months made of days, each with its last day's number; days stay as they are."""
    if timeframe.unit == "Day":
        yield from daily
        return
    for first_day, group in groupby(daily, key=lambda item: _period(item[1].at.astimezone(zone).date(), timeframe)):
        sessions, parts = zip(*group, strict=True)
        yield sessions[-1], merge(midnight(first_day, zone), list(parts))


def _period(day: date, timeframe: Timeframe) -> date:
    if timeframe.unit == "Week":
        return day - timedelta(days=day.weekday())
    month = (day.month - 1) // timeframe.amount * timeframe.amount + 1
    return day.replace(month=month, day=1)


def midnight(day: date, zone: ZoneInfo = NEW_YORK) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
