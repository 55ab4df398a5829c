"""Order sync: carry the broker's view of our orders to the authority, and cancels to the broker."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import Final

import structlog

from engine.domain.book import Order, Snapshot
from engine.domain.broker_types import BrokerOrder, MarketTime
from engine.domain.errors import BrokerUnavailable
from engine.domain.reconcile import LateOrder
from engine.domain.sync import due_cancels, plan_sync, without_legs
from engine.ports.authority import OrderDesk
from engine.ports.broker import Broker
from engine.service.views import Book

PARTIAL_MAX: Final = timedelta(minutes=15)  # market time
LOOKUPS_MAX: Final = 100  # of a pass: many orders end together at a close
LISTED_FROM: Final = 5  # orders that ended together, from which on a list is asked for them
CLOCKS_DIFFER: Final = timedelta(minutes=1)  # between a decision's market time and the order's at the broker
CHAIN_MAX: Final = 50  # replacements of one order between two looks
log = structlog.get_logger(__name__)


class OrderSync:
    """REST is the truth: every pass compares the broker's open orders with ours."""

    def __init__(self, broker: Broker, desk: OrderDesk, book: Book) -> None:
        self._broker = broker
        self._desk = desk
        self._book = book
        self._foreign: dict[str, BrokerOrder] = {}
        self._late: dict[str, LateOrder] = {}
        self._missing: set[str] = set()
        self._legless: set[str] = set()
        self._sent: list[Order] = []
        self._sent_after: Snapshot | None = None
        self._noted: dict[str, BrokerOrder] = {}
        self._lock = threading.RLock()  # of a pass, calls to the broker and all
        self._notes = threading.Lock()  # of what senders note: never held over a call, since exits wait for it
        self.finds = 0  # how many looks have found something new

    def run(self, market: MarketTime) -> int:
        """Bring our books up to date once; return how many orders changed."""
        with self._lock:
            ours = self._ours()
            theirs = self._broker.open_orders()
            plan = plan_sync(ours, theirs)
            self._forget_foreign_that_ended_or_is(ours, theirs)
            noted = self._take_noted()
            legless = self._without_legs(ours, theirs)
            wanted = [broker_id for broker_id in plan.lookups if broker_id not in noted]
            found = self._look_up([*wanted, *(legless - self._legless)], ours)
            self._legless = legless
            # A leg is told with its entry, which was seen after the list.
            with_entry = {leg.broker_order_id for order in found for leg in order.legs}
            found = [order for order in found if order.broker_order_id not in with_entry]
            known = self._foreign.keys() | with_entry
            news = [order for order in plan.updates if order.broker_order_id not in known]
            changed = self.record([*news, *noted.values(), *self._with_successors(found)])
            self._cancel_due(ours, market)
            self.finds += bool(changed)
            return changed

    def note_sent(self, orders: Sequence[Order]) -> None:
        """Keep what has just been accepted, so that the next pass need not read our books again for it."""
        with self._notes:
            self._sent = [*self._sent, *orders]
            self._sent_after = self._book.last

    def note(self, orders: Sequence[BrokerOrder]) -> None:
        """Keep what somebody has just seen at the broker; the next pass reports it without asking."""
        with self._notes:
            self._noted |= {order.broker_order_id: order for order in orders}

    def record(self, orders: Sequence[BrokerOrder]) -> int:
        """Report orders to the authority; cancel those that should not live; count what changed."""
        if not orders:
            return 0
        # An order can be ours by the one whose place it took: that one goes first.
        orders = sorted(orders, key=lambda order: (order.replaces is not None, order.submitted_at))
        answers = self._desk.record_updates(orders)
        with self._lock:
            for order, answer in zip(orders, answers, strict=True):
                if answer.id is None and not answer.deferred and order.is_open:
                    self._foreign[order.broker_order_id] = order
                elif answer.late:
                    self._take_back(order, after_pause=answer.after_pause)
        changed = sum(answer.changed for answer in answers)
        if changed:
            self._book.outdate()
        return changed

    @property
    def has_late(self) -> bool:
        """Tell whether a late order has been found that nobody was told of."""
        return bool(self._late)

    def take_late(self) -> list[LateOrder]:
        """Hand over the late orders found since the last call."""
        late, self._late = list(self._late.values()), {}
        return late

    @property
    def foreign(self) -> list[BrokerOrder]:
        """Open orders of the account that we never made."""
        return list(self._foreign.values())

    @property
    def missing(self) -> frozenset[str]:
        """Broker ids of our working orders that the broker does not know."""
        return frozenset(self._missing)

    def forget_foreign(self, broker_order_ids: Iterable[str]) -> None:
        """Note that orders have become ours."""
        with self._lock:
            for broker_order_id in broker_order_ids:
                self._foreign.pop(broker_order_id, None)

    def _forget_foreign_that_ended_or_is(self, ours: Sequence[Order], theirs: Sequence[BrokerOrder]) -> None:
        """A leg may be seen before its entry is recorded, and be known with it a moment later."""
        alive = {order.broker_order_id for order in theirs} - {order.broker_order_id for order in ours}
        self._foreign = {key: order for key, order in self._foreign.items() if key in alive}

    def _without_legs(self, ours: Sequence[Order], theirs: Sequence[BrokerOrder]) -> set[str]:
        """Return entries whose legs our books do not have, but for what was sent a moment ago."""
        return without_legs(ours, theirs) - {order.broker_order_id for order in self._sent}

    def _take_noted(self) -> dict[str, BrokerOrder]:
        with self._notes:
            noted, self._noted = self._noted, {}
            return noted

    def _look_up(self, broker_order_ids: Sequence[str], ours: Sequence[Order]) -> list[BrokerOrder]:
        """Find many in a list and the others one by one, those first that were not missed before; the rest waits."""
        listed = self._listed(set(broker_order_ids), ours)
        wanted = sorted(set(broker_order_ids) - listed.keys(), key=lambda broker_id: broker_id in self._missing)
        found = {broker_id: self._broker.order(broker_id) for broker_id in wanted[:LOOKUPS_MAX]}
        missing = {broker_id for broker_id, order in found.items() if order is None}
        for broker_id in missing - self._missing:
            log.error("working order is missing at the broker", broker_order_id=broker_id)
        self._missing = missing | (self._missing & set(wanted[LOOKUPS_MAX:]))
        return [*listed.values(), *(order for order in found.values() if order is not None)]

    def _listed(self, wanted: set[str], ours: Sequence[Order]) -> dict[str, BrokerOrder]:
        """Find orders in the list of all that were sent since the oldest of them, in far fewer calls than one each."""
        if len(wanted) < LISTED_FROM:
            return {}
        decided = [o.market_at for o in ours if o.broker_order_id in wanted and o.market_at is not None]
        found: dict[str, BrokerOrder] = {}
        since = min(decided, default=None)
        pages = self._broker.order_pages(since and since - CLOCKS_DIFFER, patient=False)
        for page in islice(pages, 1 + len(wanted) // LOOKUPS_MAX):
            orders = [order for whole in page for order in (whole, *whole.legs)]
            found |= {order.broker_order_id: order for order in orders if order.broker_order_id in wanted}
            if len(found) == len(wanted):
                break
        return found

    def _with_successors(self, found: Sequence[BrokerOrder]) -> list[BrokerOrder]:
        """Follow each order that was replaced to the one that works now."""
        chain = list(found)
        for order in chain:
            if order.replaced_by is not None and len(chain) - len(found) < CHAIN_MAX:
                successor = self._broker.order(order.replaced_by)
                chain += [successor] if successor is not None else []
        return chain

    def _ours(self) -> list[Order]:
        """Return our open orders: as our books were read last, and what was sent since."""
        snapshot = self._book.read_aged()
        with self._notes:
            if snapshot is not self._sent_after:
                self._sent = []
            return [*snapshot.orders, *self._sent]

    def _cancel_due(self, ours: Sequence[Order], market: MarketTime) -> None:
        due = due_cancels(ours, market=market, partial_max=PARTIAL_MAX)
        for order in due:
            if order.broker_order_id is not None:
                log.info(
                    "cancelling",
                    order_id=order.id,
                    symbol=order.symbol,
                    purpose=order.purpose,
                    why="it was asked for" if order.cancel_requested_at else "it has rested too long",
                    decided_at=order.market_at,
                    market_at=market.now,
                )
                self._broker.cancel(order.broker_order_id)

    def _take_back(self, order: BrokerOrder, *, after_pause: bool) -> None:
        log.error(
            "late order found at the broker",
            client_order_id=order.client_order_id,
            status=order.status,
            after_pause=after_pause,
        )
        self._late[order.broker_order_id] = LateOrder(order, after_pause)
        if order.is_open:
            self._broker.cancel(order.broker_order_id)
        if order.order_class != "simple" and not order.legs:
            with suppress(BrokerUnavailable):  # the others are to be cancelled, and a reconciliation asks for it too
                whole = self._broker.order(order.broker_order_id)
                self.note([whole] if whole is not None and whole.legs else [])
