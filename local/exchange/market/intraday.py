"""What happens between two ticks: minutes, single trades and quotes, all of it synthetic.

A minute's price stays between the prices of the two ticks around it, and a trade's between those
of its minute. So trades add up to minutes, minutes to five minutes, and those to the real day,
exactly; and no trade is printed at a price that an order waiting for a tick could not have had.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from local.exchange.market.path import SessionPath, split_volume

MINUTES = 5  # in a tick
MINUTE = timedelta(minutes=1)
PRINTS = 12  # trades in a minute, fewer where fewer shares traded
WOBBLE = 0.4  # of the distance between two ticks


@dataclass(frozen=True, slots=True)
class MinutePath:
    """One session by the minute: a price at the start of every minute and one at the end."""

    prices_cents: tuple[int, ...]
    volumes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Print:
    """One trade and the quote that stood at its time; `number` grows with time."""

    number: int
    at: datetime
    cents: int
    size: int
    bid_cents: int
    ask_cents: int
    bid_size: int
    ask_size: int


def by_minute(rng: random.Random, path: SessionPath) -> MinutePath:
    """Return the minutes inside each tick of a session."""
    prices = [path.prices_cents[0]]
    volumes: list[int] = []
    for tick, volume in enumerate(path.volumes):
        prices += between(rng, path.prices_cents[tick], path.prices_cents[tick + 1], MINUTES)
        volumes += split_volume(rng, volume, MINUTES)
    return MinutePath(tuple(prices), tuple(volumes))


def prints(
    rng: random.Random, path: SessionPath, minutes: MinutePath, minute: int, starts: datetime
) -> Iterator[Print]:
    """Yield one minute's trades, the first at its open and the last at its close."""
    begin, end = minutes.prices_cents[minute : minute + 2]
    volume = minutes.volumes[minute]
    count = prints_in(volume)
    if count < 2:
        prices, sizes, offsets = [end] * count, [volume] * count, [0] * count
    else:
        prices = [begin, *between(rng, begin, end, count - 1)]
        sizes = [1 + extra for extra in split_volume(rng, volume - count, count)]
        offsets = [0, *sorted(rng.sample(range(1, 59_999), count - 2)), 59_999]
    half = path.half_spreads_cents[minute // MINUTES]
    depth = path.volumes[max(0, minute // MINUTES - 1)]
    first = round(starts.timestamp() * 1000)
    for index, (cents, size, offset) in enumerate(zip(prices, sizes, offsets, strict=True)):
        yield Print(
            number=first + offset,
            at=starts + timedelta(milliseconds=offset),
            cents=cents,
            size=size,
            bid_cents=max(1, cents - half),
            ask_cents=cents + half,
            bid_size=bid_size(depth + index),
            ask_size=ask_size(depth + index),
        )


def prints_in(volume: int) -> int:
    """Return how many trades make up a minute's volume."""
    return min(PRINTS, volume)


def bid_size(depth: int) -> int:
    return 100 + depth % 9 * 100


def ask_size(depth: int) -> int:
    return 100 + depth // 9 % 9 * 100


def between(rng: random.Random, begin: int, end: int, steps: int) -> list[int]:
    """Return `steps` prices that lead to `end` and never leave the range from `begin` to it."""
    low, high = (begin, end) if begin < end else (end, begin)
    wobble = (high - low) * WOBBLE
    inner = [begin + (end - begin) * step / steps + rng.uniform(-wobble, wobble) for step in range(1, steps)]
    return [min(high, max(low, round(cents))) for cents in inner] + [end]
