"""Position monitor: marks every position, and sees to it that none stays without protection."""

from __future__ import annotations

from collections import Counter
from typing import Final

from engine.domain.book import OpenTrade, Purpose, Snapshot
from engine.domain.broker_types import MarketTime
from engine.domain.errors import AuthorityUnavailable
from engine.domain.exits import Care, Watch, is_fully_at_broker, watch_trade
from engine.ports.authority import Mark, StateStore
from engine.ports.market_data import MarketData
from engine.service.exit_desk import Exit, ExitDesk
from engine.service.views import Book

# A resting stop that should have acted gets this many looks before the engine closes the position.
SUSPECT_LOOKS_MAX: Final = 3


class PositionMonitor:
    """Exits are never gated by pause or approval."""

    def __init__(self, market_data: MarketData, store: StateStore, exits: ExitDesk, book: Book) -> None:
        self._market_data = market_data
        self._store = store
        self._exits = exits
        self._book = book
        self._suspicions: Counter[str] = Counter()

    def run(self, market: MarketTime) -> int:
        """Look at every open trade once; return how many exits are under way because of it."""
        watches, under_way = self._care(self._read_book(), market)
        if watches:
            self._store.record_marks([_mark(watch, market) for watch in watches])
        return under_way

    def run_urgent(self, market: MarketTime) -> int:
        """As `run`, but only when some trade is not fully looked after by the broker, and without marks."""
        snapshot = self._read_book()
        if snapshot is None or all(is_fully_at_broker(trade) for trade in snapshot.trades):
            return 0
        return self._care(snapshot, market)[1]

    def _care(self, snapshot: Snapshot | None, market: MarketTime) -> tuple[list[Watch], int]:
        watches = self._watch(snapshot)
        wishes = [wish for watch in watches if (wish := self._wish(watch, market)) is not None]
        return watches, self._exits.request(wishes, market.now)

    def _read_book(self) -> Snapshot | None:
        try:
            return self._book.read()
        except AuthorityUnavailable:
            return self._book.last  # exits fail open: go on from what was known last

    def _watch(self, snapshot: Snapshot | None) -> list[Watch]:
        if snapshot is None or not snapshot.trades:
            return []
        quotes = self._market_data.quotes({trade.symbol for trade in snapshot.trades})
        return [
            watch_trade(trade, quotes[trade.symbol], entry_is_open=trade.trade_id in snapshot.open_entry_trades)
            for trade in snapshot.trades
            if trade.symbol in quotes
        ]

    def _wish(self, watch: Watch, market: MarketTime) -> Exit | None:
        trade = watch.trade
        match watch.care:
            case Care.CLOSE if market.is_open:
                return _close(trade, watch)
            case Care.SUSPECT if market.is_open:
                self._suspicions[trade.trade_id] += 1
                return _close(trade, watch) if self._suspicions[trade.trade_id] >= SUSPECT_LOOKS_MAX else None
            case Care.PROTECT:
                return Exit(
                    trade_id=trade.trade_id,
                    purpose=Purpose.STOP_LOSS,
                    exit_reason="stop_loss",
                    reason=watch.reason,
                    qty=watch.uncovered_qty,
                    stop_price=trade.stop_price,
                )
        self._suspicions.pop(trade.trade_id, None)
        return None


def _close(trade: OpenTrade, watch: Watch) -> Exit:
    return Exit(trade_id=trade.trade_id, exit_reason=watch.exit_reason, reason=watch.reason)


def _mark(watch: Watch, market: MarketTime) -> Mark:
    return Mark(
        trade_id=watch.trade.trade_id,
        mark_price=watch.mark_price,
        protected_qty=watch.protected_qty,
        market_at=market.now,
    )
