"""The database that decides, as the system's own lockouts and the housekeeping need it.

Every method raises AuthorityUnavailable when it cannot be reached, LeaseLost when the fencing
token is stale, and Refused for any other coded no.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from engine.domain.protections import LockoutPlan, ProtectionFacts


class Guards(Protocol):
    """What system lockouts are judged by, and the door to set them."""

    def facts(self, since: datetime) -> ProtectionFacts:
        """Return the trades closed after a market time, and the open breaks."""
        ...

    def lock_out(self, plan: LockoutPlan) -> None:
        """Set a lockout; the same cause never locks the same thing twice."""
        ...


class Upkeep(Protocol):
    """What has to be done from time to time and is nobody's business."""

    def expire_approvals(self) -> int:
        """End the approvals that nobody decided in time; return how many."""
        ...

    def prune_history(self) -> int:
        """Remove a part of what is older than it is kept; return how many rows, 0 when nothing is left."""
        ...
