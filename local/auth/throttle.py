"""Slow guessing down: so many failures a minute for each account and for each client address."""

import math
from collections import OrderedDict, deque

from local.auth.errors import AuthError

KEYS_MAX = 10_000  # bounds the memory that made-up addresses can take


class Throttle:
    """Failures within a sliding window, by key."""

    def __init__(self, *, failures_max: int, window_s: float) -> None:
        self._failures_max = failures_max
        self._window_s = window_s
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, key: str, *, now_s: float) -> None:
        """Count an attempt as failed before it is tried, so that many at once do not slip through.

        Raises
        ------
        AuthError 429 with Retry-After when there were too many
        """
        attempts = self._attempts.setdefault(key, deque())
        self._attempts.move_to_end(key)
        while attempts and attempts[0] <= now_s - self._window_s:
            attempts.popleft()
        if len(attempts) >= self._failures_max:
            raise _too_many(attempts[0] + self._window_s - now_s)
        attempts.append(now_s)
        if len(self._attempts) > KEYS_MAX:
            self._attempts.popitem(last=False)

    def succeed(self, key: str) -> None:
        """Take the attempt back: it was none at guessing."""
        attempts = self._attempts.get(key)
        if attempts:
            attempts.pop()


def _too_many(wait_s: float) -> AuthError:
    seconds = max(1, math.ceil(wait_s))
    return AuthError(
        429,
        "over_request_rate_limit",
        f"Too many failed attempts. Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )
