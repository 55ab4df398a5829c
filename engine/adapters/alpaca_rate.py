"""Alpaca's limit of calls: told by headers, honoured before a call goes out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from engine.adapters.system_clock import SystemClock
from engine.domain.errors import BrokerUnavailable
from engine.domain.rate_budget import Budget
from engine.ports.clock import Clock

TOO_MANY: Final = 429
RETRY_DEFAULT_S: Final = 2.0


class RateLimited(BrokerUnavailable):
    """The call was not made: what is left of the limit is kept for exits, or the broker refuses all."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"Alpaca's rate limit leaves no call for this now; try again in {wait_s:.1f} s")
        self.wait_s = wait_s


class AlpacaRateLimit:
    """Thread-safe; one for all clients of an account."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._budget = Budget()
        self._lock = threading.Lock()

    def calls_left(self) -> int:
        """Return how many calls are left now beside those that are kept for exits and cancels."""
        with self._lock:
            return self._budget.left(self._clock.monotonic_s())

    def take(self, *, urgent: bool) -> None:
        """Count a call that goes out now.

        Raises
        ------
        RateLimited when it may not: nothing was sent
        """
        with self._lock:
            now_s = self._clock.monotonic_s()
            wait_s = self._budget.wait_s(now_s, urgent=urgent)
            if wait_s > 0:
                raise RateLimited(wait_s)
            self._budget = self._budget.spent(now_s)

    def wait(self) -> None:
        """Sleep, a second at most, until a call that is not urgent may be tried again."""
        with self._lock:
            wait_s = self._budget.wait_s(self._clock.monotonic_s(), urgent=False)
        self._clock.sleep(min(wait_s, 1.0))

    def note(self, status: int, headers: Mapping[str, str]) -> None:
        """Take over what an answer says about the limit."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            resets_in_s = _resets_in_s(headers)
            limit, remaining = _whole(headers, "X-RateLimit-Limit"), _whole(headers, "X-RateLimit-Remaining")
            if limit is not None and remaining is not None:
                self._budget = self._budget.told(
                    limit=limit, remaining=remaining, resets_in_s=resets_in_s or 0.0, now_s=now_s
                )
            if status == TOO_MANY:
                retry_after = _whole(headers, "Retry-After")
                retry_in_s = float(retry_after) if retry_after is not None else resets_in_s
                self._budget = self._budget.refused(
                    retry_in_s=RETRY_DEFAULT_S if retry_in_s is None else retry_in_s, now_s=now_s
                )


def _resets_in_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the window still lasts by the broker's own clock, which need not be ours."""
    reset, date = _whole(headers, "X-RateLimit-Reset"), headers.get("Date")
    if reset is None or date is None:
        return None
    try:
        return reset - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None
