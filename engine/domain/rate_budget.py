"""How many calls the broker's limit leaves, and for whom: a fifth is kept for exits and cancels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

KEPT: Final = Decimal("0.2")
WINDOW_S: Final = 60.0
PROBE_EVERY_S: Final = 1.0  # while the broker refuses, an exit tries this often all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the broker last said of its limit. Seconds are monotonic; `limit` 0: nothing known yet."""

    limit: int = 0
    remaining: int = 0
    resets_at_s: float = 0.0
    refused_until_s: float = 0.0
    probed_at_s: float = float("-inf")

    @property
    def kept(self) -> int:
        return int(self.limit * KEPT)

    def left(self, now_s: float) -> int:
        """Return how many calls are left beside the kept ones."""
        if now_s < self.refused_until_s:
            return 0
        if not self.limit:
            return 1_000_000
        if now_s >= self.resets_at_s:
            return self.limit - self.kept
        return max(0, self.remaining - self.kept)

    def wait_s(self, now_s: float, *, urgent: bool) -> float:
        """Return how long a call has to wait; 0 when it may go out now.

        An urgent call (an exit, a cancel, a look-up) may use what is kept; while the broker
        refuses everything, one such call a second probes whether it still does.
        """
        if now_s < self.refused_until_s:
            rest = self.refused_until_s - now_s
            return min(rest, max(0.0, self.probed_at_s + PROBE_EVERY_S - now_s)) if urgent else rest
        if urgent or self.left(now_s) > 0:
            return 0.0
        return self.resets_at_s - now_s

    def spent(self, now_s: float) -> Budget:
        """Return the budget once a call has gone out; what its answer says counts more."""
        if self.limit and now_s >= self.resets_at_s:
            return replace(self, remaining=self.limit - 1, resets_at_s=now_s + WINDOW_S, probed_at_s=now_s)
        return replace(self, remaining=max(0, self.remaining - 1), probed_at_s=now_s)

    def told(self, *, limit: int, remaining: int, resets_in_s: float, now_s: float) -> Budget:
        """Return the budget that an answer's headers tell of."""
        resets_at_s = now_s + min(max(resets_in_s, 0.0), WINDOW_S)
        return replace(self, limit=limit, remaining=remaining, resets_at_s=resets_at_s, refused_until_s=0.0)

    def refused(self, *, retry_in_s: float, now_s: float) -> Budget:
        """Return the budget after the broker has refused a call for the number of them."""
        return replace(self, remaining=0, refused_until_s=now_s + min(max(retry_in_s, PROBE_EVERY_S), WINDOW_S))
