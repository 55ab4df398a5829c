"""What a reader sees who is served from a copy that lags behind: orders and positions of before."""

from __future__ import annotations

import time
from collections import deque
from copy import copy

from local.exchange.http.faults import Fault, FaultSwitch, Kind
from local.exchange.trading.account import Position
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.ledger import Listener, Update

REMEMBERED = 1_000


class Lag:
    """Wall-clock times of orders and fills, kept only while a lag is armed for someone to see."""

    def __init__(self, faults: FaultSwitch) -> None:
        self._faults = faults
        self._placed: dict[str, float] = {}
        self._before: dict[str, deque[tuple[float, dict[str, Position]]]] = {}
        self._latest: dict[str, dict[str, Position]] = {}

    def note_order(self, order_id: str) -> None:
        """Remember when an order was accepted."""
        if self._is_armed(Kind.READ_LAG):
            self._placed[order_id] = time.monotonic()

    def hides_order(self, order_id: str, fault: Fault) -> bool:
        """Tell whether an order is too young to be seen yet."""
        placed = self._placed.get(order_id)
        return placed is not None and time.monotonic() - placed < fault.delay_ms / 1000

    def watch(self, exchange: Exchange) -> None:
        """Remember the positions that an account had before each of its fills."""

        def note(update: Update) -> None:
            if update.fill is not None:
                self._note_fill(exchange)

        exchange.ledger.listeners.append(Listener(note, lambda: self._is_armed(Kind.POSITION_LAG)))

    def start(self, exchange: Exchange) -> None:
        """Take the present positions as those before the next fill."""
        self._latest[exchange.account.id] = _copied(exchange)

    def positions(self, exchange: Exchange, fault: Fault) -> dict[str, Position]:
        """Return the positions as they were `delay_ms` ago."""
        since = time.monotonic() - fault.delay_ms / 1000
        for at, before in self._before.get(exchange.account.id, ()):
            if at > since:
                return before
        return exchange.account.positions

    def _note_fill(self, exchange: Exchange) -> None:
        account_id = exchange.account.id
        kept = self._before.setdefault(account_id, deque(maxlen=REMEMBERED))
        kept.append((time.monotonic(), self._latest.get(account_id, {})))
        self._latest[account_id] = _copied(exchange)

    def _is_armed(self, kind: Kind) -> bool:
        return any(fault.kind is kind for fault in self._faults.armed)


def _copied(exchange: Exchange) -> dict[str, Position]:
    return {symbol: copy(held) for symbol, held in exchange.account.positions.items()}
