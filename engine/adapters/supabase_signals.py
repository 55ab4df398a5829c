"""The authority in Supabase behind the port SignalLog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db import commands
from engine.adapters.supabase_authority import ShardSession
from engine.domain.layers.blocked import BlockedEntry


class SupabaseSignalLog:
    def __init__(self, session: ShardSession) -> None:
        self._session = session

    def record_blocked(self, entries: Sequence[BlockedEntry]) -> None:
        """Keep entries that a layer has blocked; the same one twice is kept once."""
        self._session.call(
            commands.record_signals,
            shard=self._session.shard,
            token=self._session.token,
            signals=[_row(entry) for entry in entries],
        )


def _row(entry: BlockedEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "profile_id": entry.profile_id,
        "symbol": entry.symbol,
        "side": entry.side,
        "strategy": entry.signal.strategy,
        "strength": str(entry.signal.strength),
        "bar_at": entry.signal.bar_at.isoformat(),
        "detail": dict(entry.signal.detail),
        "blocked_by": entry.blocked_by,
        "market_at": entry.market_at.isoformat(),
    }
