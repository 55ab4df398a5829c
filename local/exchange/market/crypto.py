"""Prices of the crypto pairs: wholly synthetic, seeded, around the clock.

No market data is behind them. Each pair walks from day to day around the level that its profile
names, in a way that depends on the seed alone; a day is Central Time's, as Alpaca counts crypto
days, and its inside is made the way a share's session is. Volumes are in ten-thousandths of a coin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from local.exchange.market.calendar import TICK
from local.exchange.market.intraday import MinutePath, by_minute
from local.exchange.market.path import SessionPath, seeded, synthesize
from local.exchange.market.tape import DailyBar

CENTRAL = ZoneInfo("America/Chicago")
LOTS = 10_000  # in a coin
DAYS_CACHED = 128
PULL = 0.002  # of the distance to the usual level, back to it each day
LEAD_IN = timedelta(days=370)  # history before the tape's first session


@dataclass(frozen=True, slots=True)
class Profile:
    """What a pair's prices are like; volatility is that of a day's logarithmic return."""

    level_usd: float
    volatility: float
    coins_a_day: int


PROFILES = {
    "BTC/USD": Profile(level_usd=30_000, volatility=0.03, coins_a_day=20_000),
    "ETH/USD": Profile(level_usd=2_000, volatility=0.04, coins_a_day=250_000),
}


@dataclass(frozen=True, slots=True)
class CryptoDay:
    """One day of one pair: from midnight to midnight in Central Time."""

    starts: datetime
    path: SessionPath
    minutes: MinutePath


class CryptoSeries:
    """One pair from `first` to `last` (dates), any day computed on its own."""

    def __init__(self, symbol: str, seed: int, first: date, last: date) -> None:
        self.symbol = symbol
        self.seed = seed
        self.first = first - LEAD_IN
        self.days = (last - self.first).days + 2
        self.day = lru_cache(DAYS_CACHED)(self._day)

    def index_of(self, at: datetime) -> int:
        """Return the day that a time lies in, the series' first or last where it lies outside."""
        index = (at.astimezone(CENTRAL).date() - self.first).days
        return min(max(index, 0), self.days - 1)

    def starts(self, index: int) -> datetime:
        return datetime.combine(self.first + timedelta(days=index), time(), CENTRAL).astimezone(UTC)

    def intervals(self, index: int) -> int:
        """Return how many ticks the day has: 288, an hour's more or less when clocks change."""
        return (self.starts(index + 1) - self.starts(index)) // TICK

    def bar(self, index: int) -> DailyBar:
        """Return what one whole day comes to; each opens where the one before closed."""
        rng = seeded(self.seed, self.symbol, "day", index)
        first, last = self._closes_cents[index], self._closes_cents[index + 1]
        reach = PROFILES[self.symbol].volatility / 2
        high = round(max(first, last) * (1 + reach * rng.random())) + 1
        low = round(min(first, last) * (1 - reach * rng.random())) - 1
        volume = round(PROFILES[self.symbol].coins_a_day * LOTS * rng.uniform(0.5, 2.0))
        opened, highest, lowest, closed = (Decimal(cents).scaleb(-2) for cents in (first, high, low, last))
        return DailyBar(opened, highest, lowest, closed, volume)

    def _day(self, index: int) -> CryptoDay:
        day = self.first + timedelta(days=index)
        path = synthesize(
            seed=self.seed, symbol=self.symbol, day=day, bar=self.bar(index), intervals=self.intervals(index)
        )
        minutes = by_minute(seeded(self.seed, self.symbol, day.isoformat(), "minutes"), path)
        return CryptoDay(self.starts(index), path, minutes)

    @cached_property
    def _closes_cents(self) -> list[int]:
        """The close before each day, and the last one's: a walk that is drawn back to its level."""
        profile = PROFILES[self.symbol]
        rng = seeded(self.seed, self.symbol, "walk", self.first.isoformat())
        distance, closes = 0.0, []
        for _ in range(self.days + 1):
            closes.append(max(1_000, round(profile.level_usd * 100 * math.exp(distance))))
            distance += rng.gauss(0.0, profile.volatility) - PULL * distance
        return closes
