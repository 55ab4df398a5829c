"""Where signals are kept that never reach the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.domain.layers.blocked import BlockedEntry


class SignalLog(Protocol):
    """Raises as the authority's other ports do."""

    def record_blocked(self, entries: Sequence[BlockedEntry]) -> None:
        """Keep entries that a layer has blocked; the same one twice is kept once."""
        ...
