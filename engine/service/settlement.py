"""Settlement: find out what became of orders whose fate is not known."""

from __future__ import annotations

from datetime import datetime

import structlog

from engine.domain.book import Order, OrderState
from engine.domain.submission import Misses, Outcome, Submission, is_settled_as_missing
from engine.ports.authority import OrderDesk
from engine.ports.broker import Broker
from engine.ports.clock import Clock
from engine.service.health_tracker import HealthTracker
from engine.service.views import Book

log = structlog.get_logger(__name__)


class Settlement:
    """Looks unsettled orders up at the broker by our id; never resends under another one.

    An order that is found is adopted. One that is missed several times over a quiet window, counted
    from its permit's end, was never sent: an entry ends as canceled, an exit becomes ready again.
    """

    def __init__(
        self, broker: Broker, desk: OrderDesk, book: Book, health: HealthTracker, clock: Clock, *, quiet_s: float
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._book = book
        self._health = health
        self._clock = clock
        self._quiet_s = quiet_s
        self._misses: dict[str, Misses] = {}

    def run(self) -> int:
        """Settle what can be settled; return how many orders are still open questions."""
        unsettled = [
            order
            for order in self._book.read().orders
            if order.state is OrderState.UNKNOWN or self._permit_is_over(order)
        ]
        return self._settle(unsettled)

    def run_after_restart(self) -> int:
        """Settle what a dead process left behind; lock the symbols of what stays open.

        Nobody of ours sends under these permits any more, but a request may still be in flight.
        """
        self._book.outdate()
        return self._settle([order for order in self._book.read().orders if order.state.is_unsettled])

    def _settle(self, unsettled: list[Order]) -> int:
        results = [self._look_up(order) for order in unsettled]
        news = [
            result
            for order, result in zip(unsettled, results, strict=True)
            if not (result.outcome is Outcome.UNKNOWN and order.state is OrderState.UNKNOWN)
        ]
        if news:
            self._desk.record_submissions(news)
            self._book.outdate()
        self._misses = {key: self._misses[key] for order in unsettled if (key := order.id) in self._misses}
        return sum(result.outcome is Outcome.UNKNOWN for result in results)

    def _look_up(self, order: Order) -> Submission:
        found = self._broker.order_by_client_id(order.id)
        if found is not None:
            log.info("adopted", order_id=order.id, status=found.status)
            return Submission(id=order.id, outcome=Outcome.ACCEPTED, order=found)
        if self._is_missing_for_good(order):
            log.warning("was never sent", order_id=order.id, purpose=order.purpose)
            return Submission(
                id=order.id,
                outcome=Outcome.NOT_SENT,
                code="NOT_SENT",
                reason="Never reached the broker: looked up repeatedly after its permit ran out.",
            )
        return Submission(
            id=order.id,
            outcome=Outcome.UNKNOWN,
            code="LOOKING_UP",
            reason="Its fate at the broker is being looked up.",
        )

    def _is_missing_for_good(self, order: Order) -> bool:
        if not self._permit_is_over(order):
            return False
        now_s = self._clock.monotonic_s()
        before = self._misses.get(order.id, Misses(0, now_s))
        self._misses[order.id] = misses = Misses(before.count + 1, before.first_at_s)
        return is_settled_as_missing(misses, now_s=now_s, quiet_s=self._quiet_s)

    def _permit_is_over(self, order: Order) -> bool:
        """Judge by the database's clock, since the deadline is the database's."""
        now = self._database_now()
        return (
            order.state.is_unsettled
            and now is not None
            and (order.permit_deadline is None or now > order.permit_deadline)
        )

    def _database_now(self) -> datetime | None:
        return None if self._health.control is None else self._health.control.checked_at
