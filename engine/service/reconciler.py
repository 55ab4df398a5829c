"""Reconciler: our books against the broker's; what can be repaired is, and every difference is on record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

import structlog

from engine.domain.book import Order
from engine.domain.broker_types import BrokerOrder, MarketTime, Split
from engine.domain.control import ControlMode
from engine.domain.errors import BrokerUnavailable
from engine.domain.reconcile import (
    Adoption,
    Finding,
    FindingKind,
    compare_positions,
    explaining_split,
    find_account,
    find_adopted,
    find_foreign,
    find_late,
    find_missing,
    find_split,
    find_unprotected,
    gap_of,
    lasting,
    may_adopt,
)
from engine.domain.submission import Misses, is_settled_as_missing
from engine.ports.broker import Broker, BrokerAccount
from engine.ports.clock import Clock
from engine.ports.ledger import Ledger, Run, RunKind
from engine.service import metrics
from engine.service.health_tracker import HealthTracker
from engine.service.order_sync import OrderSync
from engine.service.sweep import Sweep, Swept
from engine.service.views import Book

SPLITS_BACK: Final = timedelta(days=10)
LOOKS_MIN: Final = 2  # passes; the sync looks many times between them
MISSING: Final = "missing"  # our own word for what the broker denies to know
log = structlog.get_logger(__name__)


class Reconciler:
    """Syncs first, so that what remains is a difference and not just news; then repairs, then reports."""

    def __init__(
        self,
        broker: Broker,
        account: BrokerAccount,
        ledger: Ledger,
        sync: OrderSync,
        book: Book,
        health: HealthTracker,
        clock: Clock,
        *,
        quiet_s: float,
    ) -> None:
        self._broker = broker
        self._account = account
        self._ledger = ledger
        self._sync = sync
        self._book = book
        self._health = health
        self._clock = clock
        self._quiet_s = quiet_s
        self._sweep = Sweep(broker, ledger, sync)
        self._misses: dict[str, Misses] = {}
        self._adoptions: dict[str, Adoption] = {}
        self._lock = threading.Lock()
        self.last: Run | None = None

    def run(self, market: MarketTime, kind: RunKind, on_page: Callable[[], object] = lambda: None) -> list[Finding]:
        """Compare once, repair, and note the run; return what was found.

        Parameters
        ----------
        on_page : called while a long sweep goes on, for a lease that must not run out meanwhile
        """
        with self._lock:
            state = self._account.state()
            self._health.broker_blocked = state.is_blocked
            swept = self._sweep.run(kind, market, on_page)
            swept.changed += self._sync.run(market)
            findings, positions = self._compare(market)
            events = self._repair(findings, swept, market)
            if findings:  # a fill between two reads looks like a difference: look again before saying so
                again, positions = self._compare(market)
                findings = lasting(findings, again)
            findings += [*find_account(state, fenced=self._is_fenced()), *find_late(self._sync.take_late()), *events]
            self._note(kind, swept, positions, findings)
            return findings

    def _compare(self, market: MarketTime) -> tuple[list[Finding], int]:
        self._book.outdate()
        self._sync.run(market)
        held = self._ledger.held()
        positions = self._broker.positions()
        snapshot = self._book.read()
        findings = [
            *compare_positions(held, positions),
            *find_missing(snapshot.orders, self._sync.missing),
            *find_foreign(self._sync.foreign, self._adoptions),
            *find_unprotected(snapshot),
        ]
        return findings, len(positions)

    def _repair(self, findings: list[Finding], swept: Swept, market: MarketTime) -> list[Finding]:
        """Do what can be done about differences; return what was done as findings of its own."""
        gaps = {f.symbol: f for f in findings if f.kind is FindingKind.POSITION_MISMATCH and f.symbol}
        self._give_up_missing()
        return [*self._apply_splits(gaps, market), *self._adopt(gaps, swept)]

    def _give_up_missing(self) -> None:
        """Look what the broker does not know up under our own id; end it when it stays missing."""
        missing = [o for o in self._book.read().orders if o.broker_order_id in self._sync.missing]
        found = [self._find(order) for order in missing]
        self._misses = {o.id: self._misses[o.id] for o in missing if o.id in self._misses}
        self._sync.record([order for order in found if order is not None])

    def _find(self, order: Order) -> BrokerOrder | None:
        found = self._broker.order_by_client_id(order.id)
        if found is not None:
            return found
        now_s = self._clock.monotonic_s()
        before = self._misses.get(order.id, Misses(0, now_s))
        self._misses[order.id] = misses = Misses(before.count + 1, before.first_at_s)
        if not is_settled_as_missing(misses, now_s=now_s, quiet_s=self._quiet_s, count_min=LOOKS_MIN):
            return None
        log.error("order given up: the broker does not know it", order_id=order.id, symbol=order.symbol)
        return _given_up(order)

    def _apply_splits(self, gaps: Mapping[str, Finding], market: MarketTime) -> list[Finding]:
        applied: list[Finding] = []
        splits = self._splits(market) if gaps else ()
        for gap in gaps.values():
            split, qty = explaining_split(gap, splits), Decimal(gap.detail["broker"])
            if split is not None and self._ledger.apply_split(split, qty):
                log.warning("split applied", symbol=split.symbol, ratio=str(split.ratio))
                applied.append(find_split(split, qty))
        return applied

    def _splits(self, market: MarketTime) -> Sequence[Split]:
        try:
            return self._account.splits((market.now - SPLITS_BACK).date(), market.session_date)
        except BrokerUnavailable as error:
            log.warning("splits cannot be read, a gap may be one", error=str(error))
            return ()

    def _adopt(self, gaps: Mapping[str, Finding], swept: Swept) -> list[Finding]:
        """Ask for external orders that work, and for those whose fills are part of a gap."""
        orders = swept.foreign | {order.broker_order_id: order for order in self._sync.foreign}
        wanted = [
            order
            for order in orders.values()
            if may_adopt(order, gap_of(gaps[order.symbol]) if order.symbol in gaps else Decimal(0))
        ]
        answers = self._ledger.adopt(wanted) if wanted else []
        self._adoptions = {answer.order.broker_order_id: answer for answer in answers}
        self._sync.forget_foreign(answer.order.broker_order_id for answer in answers if answer.adopted)
        return find_adopted(answers)

    def _is_fenced(self) -> bool:
        """Tell whether we have halted trading ourselves, and may have set the broker's fence."""
        control = self._health.control
        return control is not None and control.mode is ControlMode.HALTED

    def _note(self, kind: RunKind, swept: Swept, positions: int, findings: list[Finding]) -> None:
        metrics.FINDINGS.set(sum(not finding.repaired for finding in findings))
        run = Run(
            kind=kind,
            orders_checked=max(swept.checked, len(self._book.read().orders)),
            orders_changed=swept.changed,
            positions_checked=positions,
            cursor=self._sweep.cursor,
        )
        self._ledger.note(run, findings)
        self.last = run


def _given_up(order: Order) -> BrokerOrder:
    """Return the end of an order that the broker does not know: what it filled stays booked."""
    assert order.broker_order_id is not None, "only what was at the broker can be missing there"
    at = order.broker_updated_at or order.submitted_at or order.market_at
    assert at is not None, "what was at the broker has a time"
    return BrokerOrder(
        broker_order_id=order.broker_order_id,
        client_order_id=order.id,
        status=MISSING,
        symbol=order.symbol,
        side=order.side,
        qty=order.qty,
        type=order.order_type,
        order_class=order.order_class,
        filled_qty=Decimal(0),
        submitted_at=at,
        updated_at=at,
    )
