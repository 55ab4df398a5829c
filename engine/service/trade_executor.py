"""Trade executor: turn permits into broker orders, and say what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from engine.domain.book import Order, OrderState, Purpose
from engine.domain.broker_types import BrokerOrder
from engine.domain.errors import BrokerUnavailable, Retryable
from engine.domain.exits import blocking_legs
from engine.domain.submission import Outcome, Submission
from engine.ports.authority import OrderDesk
from engine.ports.broker import Broker, RateLimit
from engine.ports.clock import Clock
from engine.service import metrics
from engine.service.crash_points import AFTER_CLAIM, AFTER_SUBMIT, BEFORE_SEND, crash_point
from engine.service.health_tracker import HealthTracker
from engine.service.lease import Lease
from engine.service.order_sync import OrderSync
from engine.service.sending import FEW_LEFT, Permit, Sending
from engine.service.views import Book

PAUSED_MESSAGE: Final = "Trade execution is paused by administrator"
BLOCKED_MESSAGE: Final = "The broker account may not trade: it is blocked or suspended."
LEGS_GONE_WITHIN_S: Final = 2.0
CLAIM_MAX: Final = 50
LOOK_AGAIN_S: Final = 0.05
BUSY_S: Final = 0.25  # a claim that finds nothing is over by then; else orders are being sent
log = structlog.get_logger(__name__)


class TradeExecutor:
    """Checks before each send: brake off, permit not over, lease held; entries also: not paused."""

    def __init__(
        self,
        broker: Broker,
        desk: OrderDesk,
        book: Book,
        sync: OrderSync,
        health: HealthTracker,
        lease: Lease,
        clock: Clock,
        *,
        senders: int,
        rate: RateLimit | None = None,
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._book = book
        self._sync = sync
        self._health = health
        self._lease = lease
        self._clock = clock
        self._rate = rate
        self._lock = threading.Lock()
        self._senders = senders
        self._pool = ThreadPoolExecutor(senders, thread_name_prefix="sender")
        self._recorder = ThreadPoolExecutor(1, thread_name_prefix="recorder")

    def submit_ready(self) -> int:
        """Claim what is ready, send it, record what came of it, until no more is; return how many were claimed."""
        with self._lock:
            return self._send_all(self._take_permits())

    def submit_asked(self, ask: Callable[[int], Sequence[Order]]) -> int:
        """Put entries to the gate by `ask`, and send those that pass with a permit at once; return how many went.

        `ask` is told how many permits may come with the gate's answer: none while other orders are sent, since
        a permit is not to wait. What passes without one waits to be claimed. Exits do not wait for the gate: whoever
        has some may claim and send them meanwhile.
        """
        may_send = not self._health.brake_is_on and self._is_idle()
        asked_s = self._clock.monotonic_s()
        return self._send_all([_permit(order, asked_s) for order in ask(max(0, self._room()) if may_send else 0)])

    def _is_idle(self) -> bool:
        is_idle = self._lock.acquire(timeout=BUSY_S)
        if is_idle:
            self._lock.release()
        return is_idle

    def _send_all(self, permits: Sequence[Permit]) -> int:
        """Send a batch, and what else is ready once it was a full one.

        The next batch is claimed while the last few of one are sent, and each is recorded while the next one is
        sent; a batch that cannot be recorded is looked up later.
        """
        claimed = 0
        batches: list[Sending] = []
        recordings: list[Future[None]] = []
        with ExitStack() as on_leaving:
            on_leaving.callback(wait, recordings)
            while permits:
                claimed += len(permits)
                crash_point(AFTER_CLAIM)
                if len(permits) == 1:  # not worth waking anybody up
                    self._record(permits, [self.process_order_job(permits[0])])
                    break
                batches.append(Sending(permits, self.process_order_job, self._pool, self._senders))
                recordings.append(self._recorder.submit(self._record_all, batches[-1]))
                permits = self._take_more(batches)
            for recording in recordings:
                recording.result()
        return claimed

    def process_order_job(self, permit: Permit) -> Submission:
        """Send one claimed order, by what it is for; return what came of it.

        Whether a person has to approve it was asked when it was put to the gate: what waits is never claimed.
        """
        try:
            if permit.order.purpose is Purpose.ENTRY:
                return self.open_position(permit)
            if permit.order.purpose is Purpose.EXIT:
                return self.close_position(permit)
            return self._submit(permit)  # a protective stop takes nothing away first
        except Retryable as error:  # raised while preparing: sending itself never raises
            return _not_sent(permit.order, "NOT_PREPARED", str(error))

    def open_position(self, permit: Permit) -> Submission:
        """Send an entry. While paused nothing reaches the broker and the permit is handed back."""
        if self._health.is_paused(permit.order.profile_id, permit.order.symbol):
            return _not_sent(permit.order, "TRADING_PAUSED", PAUSED_MESSAGE)
        if self._health.broker_blocked:
            return _not_sent(permit.order, "ACCOUNT_BLOCKED", BLOCKED_MESSAGE)
        return self._submit(permit)

    def close_position(self, permit: Permit) -> Submission:
        """Send an exit, after its trade's resting orders have given the shares free.

        Pauses do not concern exits. Never the broker's close-position call: it has no client id,
        so it could not be recognised after a crash.
        """
        # The exit was asked for after a look at its trade, so the last snapshot has it.
        snapshot = self._book.last or self._book.read()
        trade = snapshot.trades_by_id.get(permit.order.trade_id or "")
        legs = blocking_legs(trade, permit.order) if trade else ()
        if legs:
            final = self._cancel_legs(legs)
            if final is None:
                return _not_sent(permit.order, "LEGS_WORKING", "Its protective orders still hold the shares.")
            self._sync.note(final)
            if any(_has_filled(leg, final) for leg in legs):
                return Submission(
                    id=permit.order.id,
                    outcome=Outcome.REJECTED,
                    code="POSITION_CHANGED",
                    reason="A protective order filled first; the exit was not sent.",
                )
        return self._submit(permit)

    def _take_more(self, batches: Sequence[Sending]) -> list[Permit]:
        """Take permits once hardly any of the last batch is left to be sent, if there may be more orders."""
        batches[-1].wait_for_few_left()
        # What was handed back is ready again: it waits for the next turn.
        is_held_up = any(batch.is_held_up for batch in batches)
        return [] if len(batches[-1].permits) < CLAIM_MAX or is_held_up else self._take_permits(unsent=FEW_LEFT)

    def _take_permits(self, *, unsent: int = 0) -> list[Permit]:
        if self._health.brake_is_on:
            return []
        asked_s = self._clock.monotonic_s()
        return [_permit(order, asked_s) for order in self._claim(unsent)]

    def _record_all(self, batch: Sending) -> None:
        self._record(batch.permits, batch.submissions())

    def _record(self, permits: Sequence[Permit], submissions: Sequence[Submission]) -> None:
        crash_point(AFTER_SUBMIT)
        self._desk.record_submissions(submissions)
        self._sync.note_sent([_sent(*pair) for pair in zip(permits, submissions, strict=True) if pair[1].order])
        self._book.outdate()

    def _claim(self, unsent: int) -> list[Order]:
        """Claim no more than the broker's limit lets through beside what is not sent; exits have calls of their own."""
        room = self._room(unsent)
        return self._desk.claim(limit=max(1, room), exits_only=room < 1)

    def _room(self, unsent: int = 0) -> int:
        """Return how many entries may go out beside those that are not sent yet; not positive: none."""
        return CLAIM_MAX if self._rate is None else min(self._rate.calls_left() - unsent, CLAIM_MAX)

    def _submit(self, permit: Permit) -> Submission:
        order = permit.order
        if self._health.brake_is_on:
            return _not_sent(order, "LOCAL_BRAKE", "The engine's local brake is on.")
        if not self._lease.is_held:
            return _not_sent(order, "LEASE_LOST", "The engine's lease ran out before the order was sent.")
        if self._clock.monotonic_s() >= permit.until_s:
            return _not_sent(order, "PERMIT_EXPIRED", "The permit ran out before the order was sent.")
        crash_point(BEFORE_SEND)
        with bound_contextvars(order_id=order.id), metrics.BROKER_SUBMIT.time():
            answer = self._broker.submit(order)
        submission = self._settle_at_once(answer)
        metrics.SUBMISSIONS.labels(order.purpose, submission.outcome).inc()
        log.info(
            "sent",
            order_id=order.id,
            symbol=order.symbol,
            purpose=order.purpose,
            side=order.side,
            qty=str(order.qty),
            outcome=submission.outcome,
            code=submission.code,
            reason=submission.reason,
            request_id=submission.request_id,
        )
        return submission

    def _settle_at_once(self, submission: Submission) -> Submission:
        """Look an ambiguous answer, or a taken client id, up by that id and adopt what is there."""
        if submission.outcome is not Outcome.UNKNOWN and not submission.may_be_duplicate:
            return submission
        try:
            found = self._broker.order_by_client_id(submission.id)
        except BrokerUnavailable:
            found = None
        if found is None:
            return submission
        return Submission(id=submission.id, outcome=Outcome.ACCEPTED, order=found, request_id=submission.request_id)

    def _cancel_legs(self, legs: Sequence[Order]) -> list[BrokerOrder] | None:
        """Cancel protective orders by id; return how they ended, None when they are not gone in time."""
        give_up_s = self._clock.monotonic_s() + LEGS_GONE_WITHIN_S
        self._broker.cancel(_broker_id(legs[0]))  # the rest of its group goes with it
        while True:
            now = self._look_at(legs)
            still_open = [order for order in now if order.is_open]
            if not still_open:
                return now
            if self._clock.monotonic_s() >= give_up_s:
                return None
            self._broker.cancel(still_open[0].broker_order_id)
            self._clock.sleep(LOOK_AGAIN_S)

    def _look_at(self, legs: Sequence[Order]) -> list[BrokerOrder]:
        """Return legs as the broker sees them: with their entry at once, or else one by one."""
        wanted = {_broker_id(leg) for leg in legs}
        parents = {leg.parent_id for leg in legs}
        entry = self._broker.order_by_client_id(parent) if len(parents) == 1 and (parent := parents.pop()) else None
        found = [leg for leg in entry.legs if leg.broker_order_id in wanted] if entry else []
        missing = wanted - {order.broker_order_id for order in found}
        return found + [
            order for broker_id in missing if (order := self._broker.order(broker_id, urgent=True)) is not None
        ]


def _permit(order: Order, asked_s: float) -> Permit:
    """Count the permit's life from before it was asked for, so that it ends early, never late."""
    if order.permit_deadline is None or order.submitted_at is None:
        return Permit(order, asked_s)
    return Permit(order, asked_s + (order.permit_deadline - order.submitted_at).total_seconds())


def _sent(permit: Permit, submission: Submission) -> Order:
    """Return the order as our books have it once its acceptance is recorded."""
    assert submission.order is not None, "only what was accepted was sent"
    return replace(
        permit.order,
        state=OrderState.WORKING,
        broker_order_id=submission.order.broker_order_id,
        broker_status=submission.order.status,
        filled_qty=submission.order.filled_qty,
    )


def _broker_id(leg: Order) -> str:
    assert leg.broker_order_id is not None, "only legs at the broker block an exit"
    return leg.broker_order_id


def _not_sent(order: Order, code: str, reason: str) -> Submission:
    log.warning("not sent", order_id=order.id, symbol=order.symbol, code=code)
    return Submission(id=order.id, outcome=Outcome.NOT_SENT, code=code, reason=reason)


def _has_filled(leg: Order, final: Sequence[BrokerOrder]) -> bool:
    return any(o.broker_order_id == leg.broker_order_id and o.filled_qty > leg.filled_qty for o in final)
