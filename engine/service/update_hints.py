"""Update hints: the stream says that something has happened to an order, REST says what."""

from __future__ import annotations

import threading
from typing import Final

import structlog

from engine.ports.broker import TradeUpdates
from engine.ports.clock import Clock
from engine.service.order_sync import OrderSync
from engine.service.views import MarketClock

# So many looks in a row that found something of which the stream had said nothing: it is deaf.
SILENT_FINDS_MAX: Final = 3
log = structlog.get_logger(__name__)


class UpdateHints:
    """Polling goes on beneath it: a stream that is late, silent or away costs time and nothing else."""

    def __init__(
        self, updates: TradeUpdates, sync: OrderSync, market: MarketClock, clock: Clock, *, gap_s: float
    ) -> None:
        self._updates = updates
        self._sync = sync
        self._market = market
        self._clock = clock
        self._gap_s = gap_s
        self._hinted = threading.Event()
        self._looked_s = float("-inf")
        self._finds = 0
        self._silent_finds = 0
        self._hints = 0
        self._hints_seen = 0

    def catch_up(self) -> int:
        """Look at the orders if the stream has said anything; return how many had changed.

        Looks keep a gap between them, so that a burst of updates is one call of the broker.
        """
        self._updates.start(self._hint)
        self._watch_silence()
        now_s = self._clock.monotonic_s()
        if not self._hinted.is_set() or now_s - self._looked_s < self._gap_s:
            return 0
        self._hinted.clear()  # before looking: what happens meanwhile is looked at again
        self._looked_s = now_s
        return self._sync.run(self._market.read())

    def stop(self) -> None:
        self._updates.stop()

    def _hint(self) -> None:
        self._hints += 1
        self._hinted.set()

    def _watch_silence(self) -> None:
        """Make another connection when looks find what the stream keeps silent about."""
        finds, self._finds = self._sync.finds - self._finds, self._sync.finds
        if self._hints != self._hints_seen:
            self._hints_seen, self._silent_finds = self._hints, 0
            return
        self._silent_finds += finds
        if self._silent_finds >= SILENT_FINDS_MAX and self._updates.is_connected():
            log.warning("the stream is silent about what happens, connecting again", finds=self._silent_finds)
            self._silent_finds = 0
            self._updates.reconnect()
