"""A broker in memory that keeps the rules that exits depend on: ids are taken once, cancels free shares."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from engine.domain.book import Order
from engine.domain.broker_types import BrokerOrder, BrokerPosition, Side
from engine.domain.errors import BrokerUnavailable
from engine.domain.submission import MAYBE_DUPLICATE, Outcome, Submission

NOW = datetime(2007, 1, 3, 17, 0, tzinfo=UTC)


@dataclass
class PaperBroker:
    """Market orders wait for `fill`. With `is_away` nothing answers; with `loses_answers` submits are ambiguous."""

    held: dict[str, Decimal] = field(default_factory=dict)
    orders: dict[str, BrokerOrder] = field(default_factory=dict)  # by client id
    is_away: bool = False
    loses_answers: bool = False
    refuses: bool = False
    fills_what_is_cancelled: bool = False  # the cancel loses the race
    parents: dict[str, str] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)

    def rest(self, order: Order) -> None:
        """Have an order working, as it was sent before."""
        if order.parent_id:
            self.parents[order.id] = order.parent_id
        self.orders[order.id] = BrokerOrder(
            broker_order_id=order.broker_order_id or f"broker-{order.id}",
            client_order_id=order.id,
            status=order.broker_status or "new",
            symbol=order.symbol,
            side=order.side,
            qty=order.qty,
            type=order.order_type,
            order_class=order.order_class,
            filled_qty=order.filled_qty,
            submitted_at=NOW,
            updated_at=NOW,
            stop_price=order.stop_price,
        )

    def fill(self, client_order_id: str, qty: Decimal | None = None) -> None:
        """Fill an open order, whole unless told otherwise."""
        order = self.orders[client_order_id]
        if not order.is_open:
            return
        part = min(order.qty - order.filled_qty, qty or order.qty)
        filled = order.filled_qty + part
        sign = 1 if order.side == Side.BUY else -1
        self.held[order.symbol] = self.held.get(order.symbol, Decimal(0)) + sign * part
        status = "filled" if filled == order.qty else "partially_filled"
        self.orders[client_order_id] = replace(
            order, status=status, filled_qty=filled, filled_avg_price=Decimal(100), updated_at=NOW
        )
        for sibling, parent in self.parents.items():
            if sibling != client_order_id and parent == self.parents.get(client_order_id):
                self.orders[sibling] = replace(self.orders[sibling], status="canceled")

    def submit(self, order: Order) -> Submission:
        if self.is_away:
            return Submission(id=order.id, outcome=Outcome.UNKNOWN, code="NO_ANSWER")
        self.posts.append(order.id)
        if order.id in self.orders:
            return Submission(id=order.id, outcome=Outcome.REJECTED, code=MAYBE_DUPLICATE, may_be_duplicate=True)
        if self.refuses:
            return Submission(id=order.id, outcome=Outcome.REJECTED, code="40310000", reason="refused")
        self.rest(order)
        self._take_place(order)
        if self.loses_answers:
            self.is_away = True
            return Submission(id=order.id, outcome=Outcome.UNKNOWN, code="NO_ANSWER")
        return Submission(id=order.id, outcome=Outcome.ACCEPTED, order=self.orders[order.id])

    def _take_place(self, order: Order) -> None:
        """A replacement has the group and the status of what it replaces."""
        old = next((o for o in self.orders.values() if o.broker_order_id == order.replaces_broker_id), None)
        if old is not None:
            self.orders[old.client_order_id] = replace(old, status="replaced", replaced_by=f"broker-{order.id}")
            self.orders[order.id] = replace(
                self.orders[order.id], status=old.status, qty=old.qty, replaces=old.broker_order_id
            )
            if old.client_order_id in self.parents:
                self.parents[order.id] = self.parents[old.client_order_id]

    def cancel(self, broker_order_id: str) -> None:
        order = self.order(broker_order_id)
        if order is not None and order.is_open and self.fills_what_is_cancelled:
            self.fill(order.client_order_id)
        elif order is not None and order.is_open:
            self.orders[order.client_order_id] = replace(order, status="canceled")

    def order(self, broker_order_id: str, *, urgent: bool = False) -> BrokerOrder | None:
        self._answer()
        return next((order for order in self.orders.values() if order.broker_order_id == broker_order_id), None)

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = True) -> BrokerOrder | None:
        self._answer()
        return self.orders.get(client_order_id)

    def open_orders(self) -> Sequence[BrokerOrder]:
        self._answer()
        return [order for order in self.orders.values() if order.is_open and order.status != "held"]

    def positions(self) -> Sequence[BrokerPosition]:
        self._answer()
        return [BrokerPosition(symbol, qty) for symbol, qty in self.held.items() if qty]

    def _answer(self) -> None:
        if self.is_away:
            raise BrokerUnavailable("the broker is away")
