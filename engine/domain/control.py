"""Whether entries may be opened, as the authority last told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

GLOBALLY: Final = ("global", "*")


class ControlMode(IntEnum):
    """Ordered from the least to the most restrictive."""

    RUNNING = 0
    PAUSED = 1
    HALTED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingControl:
    """The global mode with who, when and why, and the scopes that are not running.

    `changed_at` and `checked_at` are the database's time.
    """

    mode: ControlMode
    changed_by: str
    changed_at: datetime
    reason: str
    version: int
    checked_at: datetime
    scopes: Mapping[tuple[str, str], ControlMode] = field(default_factory=dict)

    @property
    def halted(self) -> frozenset[tuple[str, str]]:
        """Where nothing but cancels may be sent, as scope and key; GLOBALLY when that is everywhere."""
        everywhere = {GLOBALLY} if self.mode is ControlMode.HALTED else set()
        return frozenset(everywhere | {at for at, mode in self.scopes.items() if mode is ControlMode.HALTED})

    def mode_of(self, profile_id: str | None = None, symbol: str | None = None) -> ControlMode:
        """Return the most restrictive mode over global, profile and symbol."""
        keys = (("profile", profile_id), ("symbol", symbol))
        scoped = (self.scopes.get((scope, key), ControlMode.RUNNING) for scope, key in keys if key)
        return max(self.mode, *scoped, ControlMode.RUNNING)
