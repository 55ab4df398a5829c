"""Where alerts are sent to, as the services need it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.domain.alerts import Message


class Notifier(Protocol):
    """Sends to targets that it knows by name; never raises."""

    @property
    def targets(self) -> Sequence[str]:
        """Return the targets' names: fingerprints that tell nothing of their addresses."""
        ...

    def send(self, target: str, message: Message) -> str | None:
        """Send once; return None when the target took it, otherwise why not."""
        ...
