"""Progress: whether the engine's work comes round, which is what its watchdog is fed by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.ports.clock import Clock
from engine.service.health_tracker import HealthTracker

# A run may take this much longer than its job's limit before it counts as hanging: batches of sends do.
HANGS_AFTER_S: Final = 60.0


class Progress:
    """A job makes progress when a run of it ends, well or not: what cannot be reached is no reason to be
    restarted, a run that hangs is. While there are no jobs, before the first ones and again after the lease was
    lost, recovery's turns count.
    """

    def __init__(self, health: HealthTracker, recovery_is_turning: Callable[[], bool], clock: Clock) -> None:
        self._health = health
        self._recovery_is_turning = recovery_is_turning
        self._clock = clock
        self._seen: dict[str, tuple[int, int | float]] = {}  # ended runs, and since when there are so many

    def stuck(self) -> list[str]:
        """Return the jobs of which no run has ended within their limit; empty when all is well."""
        now_s = self._clock.monotonic_s()
        jobs = self._health.job_states()
        if not jobs:
            self._seen.clear()
            return [] if self._recovery_is_turning() else ["recovery"]
        hanging = []
        for name, job in jobs.items():
            runs = job.runs + job.failures
            before, since_s = self._seen.get(name, (-1, now_s))
            if runs != before:
                since_s = now_s
            self._seen[name] = (runs, since_s)
            if now_s - since_s > job.limit_s + HANGS_AFTER_S:
                hanging.append(name)
        return hanging
