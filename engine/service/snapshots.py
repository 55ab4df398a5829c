"""Snapshots: equity for the charts, and the engine's own state in the database and in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from engine.domain.book import Snapshot
from engine.domain.bot_state import BotState, StateRefused, decode_state, encode_state
from engine.domain.broker_types import MarketTime
from engine.ports.authority import StateStore
from engine.ports.clock import Clock
from engine.service.journal import disk_problem, set_aside, write_durably
from engine.service.views import Book

log = structlog.get_logger(__name__)


class Snapshots:
    """`bot_state.json` lies beside the database: it tells what was open when the database cannot be reached.

    Parameters
    ----------
    report : told what is wrong with the disk, or None once all is well; entries stay closed meanwhile
    token : the lease's number, by which the newer of two states is known
    """

    def __init__(
        self,
        store: StateStore,
        book: Book,
        clock: Clock,
        path: Path,
        *,
        shard: str = "main",
        token: Callable[[], int] = int,
        halted: Callable[[], frozenset[tuple[str, str]]] = frozenset,
        report: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._path = path
        self._shard = shard
        self._token_now = token
        self._halted = halted
        self._report = report
        self._was_open = False

    @property
    def token(self) -> int:
        """The number of the lease that this engine holds or held last."""
        return self._token_now()

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
        self.save_file(snapshot, market)
        self._store.save_state(_state(snapshot, market))

    def save_file(self, snapshot: Snapshot, market: MarketTime) -> None:
        """Write the file; where that fails, say so and keep entries closed until it succeeds."""
        state = BotState(
            shard=self._shard,
            token=self.token,
            saved_at=self._clock.now(),
            market_at=market.now,
            trades=snapshot.trades,
            orders=snapshot.orders,
            profiles=snapshot.profiles,
            risk_config=snapshot.risk_config,
            halted=self._halted(),
        )
        try:
            write_durably(self._path, encode_state(state))
        except OSError as error:
            problem = disk_problem(self._path, error)
            log.error("state cannot be saved, no position is opened", problem=problem)
            self._report(problem)
        else:
            self._report(None)

    def load_file(self) -> BotState | None:
        """Return the file's state; None when there is none, or none to be used: that one is kept aside."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            self._refuse(f"it cannot be read ({error})")
            return None
        try:
            return decode_state(text, shard=self._shard, now=self._clock.now())
        except StateRefused as refused:
            self._refuse(str(refused))
            return None

    def load_database(self) -> Mapping[str, Any] | None:
        """Return the newest state that the database has; None when there is none."""
        return self._store.load_state()

    def _refuse(self, reason: str) -> None:
        try:
            kept_as = set_aside(self._path, "refused", self._clock)
        except OSError as error:
            kept_as = f"{self._path} ({error})"
        log.error("state file is not used", path=str(self._path), reason=reason, kept_as=kept_as)


def _state(snapshot: Snapshot, market: MarketTime) -> dict[str, Any]:
    """Return what the database keeps of it: for people, since it knows the rest itself."""
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
