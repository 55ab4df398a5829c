"""Upkeep: approvals that ran out end, history that is old enough goes."""

from __future__ import annotations

import structlog

from engine.ports.protections import Upkeep

PARTS_MAX = 100  # of one run; what is left waits for the next
log = structlog.get_logger(__name__)


class Housekeeping:
    """Each is one call of the database, which judges by its own clock and configuration."""

    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep = upkeep

    def expire_approvals(self) -> int:
        """End the approvals that nobody decided in time; return how many."""
        ended = self._upkeep.expire_approvals()
        if ended:
            log.info("approvals ran out", count=ended)
        return ended

    def prune_history(self) -> int:
        """Remove what is older than the configuration keeps it, a part at a time; return how many rows."""
        removed = 0
        for _ in range(PARTS_MAX):
            part = self._upkeep.prune_history()
            removed += part
            if not part:
                break
        if removed:
            log.info("history was pruned", rows=removed)
        return removed
