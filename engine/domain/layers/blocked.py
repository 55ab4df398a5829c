"""An entry that a layer kept from the gate: put on record, so that people see why nothing happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.domain.broker_types import Side
from engine.domain.requests import Signal, entry_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedEntry:
    """No order: only the signal, with the name of the first layer that said no."""

    profile_id: str
    symbol: str
    side: Side
    signal: Signal
    blocked_by: str
    market_at: datetime

    @property
    def id(self) -> str:
        """The signal's id: the same bar judged twice, before and after a restart, is one record."""
        return entry_id(profile_id=self.profile_id, symbol=self.symbol, side=self.side, bar_at=self.signal.bar_at)
