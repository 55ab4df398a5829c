"""Slows down guessing: so many failures per key and window, then a wait."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

MAX_KEYS = 10_000


class Throttle:
    """Count failures per key in a sliding window. Bounded: the keys unused for longest are forgotten."""

    def __init__(self, limit: int, window: timedelta) -> None:
        self._limit = limit
        self._window = window
        self._failures: OrderedDict[str, list[datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str, now: datetime) -> timedelta:
        """Return how long a key has to wait before it may try again; zero when it may now."""
        with self._lock:
            recent = self._recent(key, now)
            if len(recent) < self._limit:
                return timedelta(0)
            return recent[-self._limit] + self._window - now

    def note_failure(self, key: str, now: datetime) -> None:
        """Count one failure of a key."""
        with self._lock:
            self._failures[key] = [*self._recent(key, now), now]
            self._failures.move_to_end(key)
            while len(self._failures) > MAX_KEYS:
                self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        """Start a key afresh, after a success."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, key: str, now: datetime) -> list[datetime]:
        return [at for at in self._failures.get(key, []) if at > now - self._window]
