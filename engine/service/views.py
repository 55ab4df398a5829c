"""Shared, briefly cached views: of our books, and of the market's clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from engine.domain.book import Snapshot
from engine.domain.broker_types import MarketTime
from engine.ports.authority import StateStore
from engine.ports.clock import Clock
from engine.ports.market_data import MarketData

T = TypeVar("T")


class _View(Generic[T]):
    """A value that is read again once it is too old or known to be outdated."""

    def __init__(self, load: Callable[[], T], clock: Clock, age_max_s: float) -> None:
        self._load = load
        self._clock = clock
        self._age_max_s = age_max_s
        self._lock = threading.Lock()
        self._changes = 0
        self._changes_read = 0
        self._read_s = float("-inf")
        self.last: T | None = None

    def read(self) -> T:
        """Return the value, at most the allowed age old and never older than `outdate`."""
        with self._lock:
            now = self._clock.monotonic_s()
            if self.last is None or self._changes != self._changes_read or now - self._read_s > self._age_max_s:
                # Counted before loading: what changes meanwhile makes the next read fresh again.
                changes = self._changes
                self.last = self._load()
                self._changes_read, self._read_s = changes, now
            return self.last

    def read_aged(self) -> T:
        """Return the value, at most the allowed age old, whatever `outdate` has said since."""
        with self._lock:
            if self.last is not None and self._clock.monotonic_s() - self._read_s <= self._age_max_s:
                return self.last
        return self.read()

    @property
    def age_s(self) -> float:
        """How long ago the value was read; infinite before the first time."""
        return self._clock.monotonic_s() - self._read_s

    def outdate(self) -> None:
        """Say that something has changed; the next `read` asks again."""
        self._changes += 1


class Book(_View[Snapshot]):
    """Our books: one snapshot of the authority shared by all jobs."""

    def __init__(self, store: StateStore, clock: Clock, *, age_max_s: float) -> None:
        super().__init__(store.snapshot, clock, age_max_s)


class MarketClock(_View[MarketTime]):
    """The market's time, shared by all jobs."""

    def __init__(self, market_data: MarketData, clock: Clock, *, age_max_s: float) -> None:
        super().__init__(market_data.clock, clock, age_max_s)
