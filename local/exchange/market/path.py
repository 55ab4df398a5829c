"""The synthetic path inside one real daily bar.

Nothing here is market data: prices between the real open, high, low and close are drawn from a
generator that is seeded by (seed, symbol, date), so any session can be computed on its own and
always comes out the same. Prices are whole cents, which keeps them exact without Decimal's cost.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

from local.exchange.market.tape import CENT, DailyBar


@dataclass(frozen=True, slots=True)
class SessionPath:
    """One session: a price at every tick, and what traded between two ticks.

    `prices_cents` and `half_spreads_cents` have one entry per tick, `volumes` one per interval.
    """

    prices_cents: tuple[int, ...]
    half_spreads_cents: tuple[int, ...]
    volumes: tuple[int, ...]


def synthesize(*, seed: int, symbol: str, day: date, bar: DailyBar, intervals: int) -> SessionPath:
    """Return one session: from the open to the close, touching high and low on the way."""
    rng = seeded(seed, symbol, day.isoformat())
    prices = _prices(rng, bar, intervals)
    spreads = tuple(max(1, round(cents * rng.uniform(0.5, 2.0) / 10_000)) for cents in prices)
    return SessionPath(prices, spreads, _volumes(rng, bar.volume, intervals))


def split_volume(rng: random.Random, total: int, parts: int) -> list[int]:
    """Split a volume into `parts` random ones, never losing a share."""
    weights = [rng.uniform(0.5, 1.5) for _ in range(parts)]
    scale = total / sum(weights)
    volumes = [int(weight * scale) for weight in weights]
    volumes[-1] += total - sum(volumes)
    return volumes


def seeded(*parts: object) -> random.Random:
    """Return a generator that depends on `parts` alone, in any process on any machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest))


def _prices(rng: random.Random, bar: DailyBar, intervals: int) -> tuple[int, ...]:
    first, high, low, last = map(_cents, (bar.open, bar.high, bar.low, bar.close))
    anchors = _anchors(rng, first, high, low, last, intervals)
    step_sigma = (high - low) / intervals**0.5 * 0.6
    prices = [first]
    for (start, begin), (stop, end) in pairwise(anchors):
        prices += _bridge(rng, begin, end, stop - start, step_sigma)
    return tuple(min(high, max(low, cents)) for cents in prices)


def _anchors(rng: random.Random, first: int, high: int, low: int, last: int, intervals: int) -> list[tuple[int, int]]:
    """Choose when the high and the low are touched; a rising day tends to touch the low first."""
    early, late = sorted(rng.sample(range(1, intervals), 2))
    low_first = rng.random() < (0.7 if last >= first else 0.3)
    extremes = [(early, low), (late, high)] if low_first else [(early, high), (late, low)]
    needed = [(at, cents) for at, cents in extremes if cents not in (first, last)]
    return [(0, first), *needed, (intervals, last)]


def _bridge(rng: random.Random, begin: int, end: int, steps: int, sigma: float) -> list[int]:
    """Walk from `begin` to exactly `end` in `steps` random steps (a Brownian bridge)."""
    walk = [0.0]
    for _ in range(steps):
        walk.append(walk[-1] + rng.gauss(0.0, sigma))
    drift = (end - begin - walk[-1]) / steps
    return [round(begin + walk[i] + drift * i) for i in range(1, steps)] + [end]


def _volumes(rng: random.Random, total: int, intervals: int) -> tuple[int, ...]:
    """Split the day's volume: heavy at the open and the close, never losing a share."""
    middle = (intervals - 1) / 2
    shape = [0.4 + ((number - middle) / middle) ** 2 for number in range(intervals)]
    weights = [height * rng.uniform(0.5, 1.5) for height in shape]
    scale = total / sum(weights)
    volumes = [int(weight * scale) for weight in weights]
    volumes[-1] += total - sum(volumes)
    return tuple(volumes)


def _cents(price: Decimal) -> int:
    return int(price.quantize(CENT, ROUND_HALF_EVEN) * 100)
