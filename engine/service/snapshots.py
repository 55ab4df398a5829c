"""Snapshots: equity for the charts, and the engine's own state in the database and in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.domain.book import Snapshot
from engine.domain.broker_types import MarketTime
from engine.ports.authority import StateStore
from engine.ports.clock import Clock
from engine.service.views import Book


class Snapshots:
    """`bot_state.json` lies beside the database: it tells what was open when nothing can be reached."""

    def __init__(self, store: StateStore, book: Book, clock: Clock, path: Path) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._path = path
        self._was_open = False

    def watch_close(self, market: MarketTime) -> None:
        """Note the equity when the market has closed since the last look: the session's last word."""
        if self._was_open and not market.is_open:
            self.record_equity(market)
        self._was_open = market.is_open

    def record_equity(self, market: MarketTime) -> None:
        """Note what every profile is worth now."""
        self._store.record_equity(market.now, market.session_date)

    def save_state(self, market: MarketTime) -> None:
        """Write the state to the file first, so that it is there when the database is not."""
        snapshot = self._book.last
        if snapshot is None:
            return
        state = _state(snapshot, market)
        write_durably(self._path, {"saved_at": self._clock.now().isoformat(), **state})
        self._store.save_state(state)

    def load_file(self) -> Mapping[str, Any] | None:
        """Return the file's state; None when there is none or it cannot be understood."""
        try:
            state = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return state if isinstance(state, dict) else None


def write_durably(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file so that a crash leaves the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _state(snapshot: Snapshot, market: MarketTime) -> dict[str, Any]:
    return {
        "market_at": market.now.isoformat(),
        "trades": [
            {
                "trade_id": trade.trade_id,
                "profile_id": trade.profile_id,
                "symbol": trade.symbol,
                "side": trade.side,
                "qty": str(trade.qty),
                "stop_price": None if trade.stop_price is None else str(trade.stop_price),
                "legs": [leg.broker_order_id for leg in trade.legs],
            }
            for trade in snapshot.trades
        ],
        "orders": [
            {"id": o.id, "symbol": o.symbol, "purpose": o.purpose, "state": o.state, "qty": str(o.qty)}
            for o in snapshot.orders
        ],
    }
