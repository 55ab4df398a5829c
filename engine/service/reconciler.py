"""Reconciler: our books against the broker's, and every difference on record."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from engine.domain.broker_types import MarketTime
from engine.domain.reconcile import (
    Finding,
    compare_positions,
    find_foreign,
    find_late,
    find_missing,
    find_unprotected,
)
from engine.ports.authority import StateStore
from engine.ports.broker import Broker, BrokerAccount
from engine.service import metrics
from engine.service.health_tracker import HealthTracker
from engine.service.order_sync import OrderSync
from engine.service.views import Book

# A full sweep goes back to the oldest order that is not over, and at least this far.
SWEEP_MIN: Final = timedelta(days=5)


class Reconciler:
    """Syncs first, so that what remains is a difference and not just news."""

    def __init__(
        self,
        broker: Broker,
        account: BrokerAccount,
        store: StateStore,
        sync: OrderSync,
        book: Book,
        health: HealthTracker,
    ) -> None:
        self._broker = broker
        self._account = account
        self._store = store
        self._sync = sync
        self._book = book
        self._health = health

    def run(self, market: MarketTime, kind: Literal["full", "incremental"]) -> list[Finding]:
        """Compare once and note the run; return the differences that stay after a second look."""
        self._health.broker_blocked = self._account.is_blocked()
        swept = self._sweep(market) if kind == "full" else 0
        findings, positions = self._compare(market)
        if findings:  # a fill between two reads looks like a difference: look again before saying so
            findings, positions = self._compare(market)
        findings += find_late(self._sync.take_late())
        metrics.FINDINGS.set(len(findings))
        self._store.record_reconciliation(
            kind=kind,
            orders_checked=max(swept, len(self._book.read().orders)),
            positions_checked=positions,
            findings=findings,
        )
        return findings

    def _sweep(self, market: MarketTime) -> int:
        """Report every order of the account back to the oldest one of ours that is not over."""
        begins = [order.market_at for order in self._book.read().orders if order.market_at is not None]
        since = min([*begins, market.now - SWEEP_MIN]) - timedelta(minutes=1)
        orders = self._broker.orders_since(since)
        self._sync.record(orders)
        return len(orders)

    def _compare(self, market: MarketTime) -> tuple[list[Finding], int]:
        self._book.outdate()
        self._sync.run(market)
        positions = self._broker.positions()
        snapshot = self._book.read()
        findings = [
            *compare_positions(snapshot, positions),
            *find_missing(snapshot, self._sync.missing),
            *find_foreign(self._sync.foreign),
            *find_unprotected(snapshot),
        ]
        return findings, len(positions)
