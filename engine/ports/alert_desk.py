"""The alerts and their outbox in the authority, as the services need them.

Every method raises AuthorityUnavailable when it cannot be reached. None needs the lease: whoever is alive may look
and deliver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.domain.alerts import Delivery, Notice


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the alerts changed; `taken` is False when somebody else had just looked."""

    taken: bool
    opened: int
    resolved: int


class AlertDesk(Protocol):
    def evaluate(self, notifiers: int) -> Looked:
        """Bring the alerts in line with what holds now; `notifiers` is the number of our targets."""
        ...

    def claim(self, holder: str, *, limit: int, ttl_s: int) -> list[Notice]:
        """Take notices that are due; nobody else gets them for so many seconds."""
        ...

    def settle(self, holder: str, deliveries: Sequence[Delivery]) -> int:
        """Report what came of claimed notices; return how many of the notices are given up now."""
        ...
