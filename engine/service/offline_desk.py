"""Offline desk: exits go on while the authority is away, and are told to it when it is back.

An exit has the id that the authority would have given it, and the broker takes an id once. The next id is
used only when the broker says that the last one is over. So nothing is doubled, whoever else asks for the
same exit: this engine once the authority is back, or another that has taken over meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from engine.domain.book import OpenTrade, OrderState, Purpose, Snapshot
from engine.domain.broker_types import MarketTime
from engine.domain.control import GLOBALLY
from engine.domain.errors import BrokerUnavailable, Refused
from engine.domain.exits import blocking_legs
from engine.domain.journal import Answered, Cancelled, Intended, OfflineExit, Told, fold
from engine.domain.offline import Seen, free_qty, offline_order, offline_view
from engine.domain.offline_exits import answer_of, answer_to, as_request, later_ids, offline_exit, waits_to_be_sent
from engine.domain.requests import Answer, ExitRequest
from engine.domain.submission import Outcome, Submission
from engine.domain.sync import plan_sync
from engine.ports.authority import CancelRequest, OfflineLedger, OrderDesk
from engine.ports.broker import Broker
from engine.ports.clock import Clock
from engine.service.crash_points import OFFLINE_INTENDED, OFFLINE_SENT, REPLAY_TOLD, crash_point
from engine.service.health_tracker import HealthTracker
from engine.service.journal import Journal
from engine.service.views import Book

LEGS_GONE_WITHIN_S: Final = 2.0
LOOK_AGAIN_S: Final = 0.05
VIEW_AGE_MAX_S: Final = 1.0
# PostgREST does not know the function, as after an upgrade, or this engine may not call it.
NO_JUDGEMENT: Final = ("PGRST", "42", "FORBIDDEN")
log = structlog.get_logger(__name__)


class OfflineDesk:
    """Acts on the last snapshot of the books, and on nothing that the broker does not confirm."""

    def __init__(
        self,
        broker: Broker,
        desk: OrderDesk,
        ledger: OfflineLedger,
        journal: Journal,
        book: Book,
        health: HealthTracker,
        clock: Clock,
        is_away: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._ledger = ledger
        self._journal = journal
        self._book = book
        self._health = health
        self._clock = clock
        self._is_away = is_away
        self._lock = threading.RLock()
        self._restored: Snapshot | None = None
        self._restored_halts: frozenset[tuple[str, str]] = frozenset()
        self._view: Snapshot | None = None
        self._seen = Seen((), (), ())
        self._viewed_s = float("-inf")

    def run(self, read_market: Callable[[], MarketTime]) -> int:
        """Do what is due: carry exits on while the authority is away, tell it of them once it is back."""
        return self.carry_on(read_market()) if self._is_away() else self.replay()

    def start_from(self, snapshot: Snapshot, halted: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Take over what a state file tells, for as long as our books and the controls could not be read yet."""
        self._restored, self._restored_halts = snapshot, halted

    def view(self) -> Snapshot | None:
        """Return the books as they must be by now; None when nothing was ever known.

        Raises
        ------
        BrokerUnavailable when the broker is away too: then nothing is assumed and nothing is done
        """
        with self._lock:
            base = self._book.last or self._restored
            if base is None:
                return None
            self._viewed_s = self._clock.monotonic_s()
            sent = self._told().exits
            self._seen = self._look(base, [exit_.id for exit_, _ in sent])
            self._view = offline_view(base, self._seen, [exit_ for exit_, _ in sent])
            return self._view

    def request_exits(self, requests: Sequence[ExitRequest]) -> list[Answer]:
        """Carry exits out at the broker, each after it was written down; answers in the same order."""
        with self._lock:
            self._fresh_view()
            return [self._answer(request) for request in requests]

    def request_cancels(self, requests: Sequence[CancelRequest]) -> int:
        """Cancel orders at the broker; return how many of them work there."""
        with self._lock:
            wanted = {request.id for request in requests}
            view = self._fresh_view()
            orders = [order for order in view.orders if order.id in wanted and order.broker_order_id] if view else []
            for order in orders:
                self._cancel(order.trade_id or order.id, order.broker_order_id or "")
            return len(orders)

    def carry_on(self, market: MarketTime) -> int:
        """Send the exits that the authority had accepted and nobody has sent yet; return how many are under way."""
        with self._lock:
            view = self.view()
            if view is None:
                return 0
            waiting = [
                order
                for order in view.orders
                if (waits_to_be_sent(order) or (order.state.is_unsettled and order.purpose is not Purpose.ENTRY))
                and order.replaces_broker_id is None
                and (order.purpose is Purpose.STOP_LOSS or market.is_open)
            ]
            return sum(answer.state.is_open for answer in self.request_exits([as_request(o, market) for o in waiting]))

    def replay(self) -> int:
        """Tell the authority what was done without it; return how many exits and answers. May be repeated.

        Raises
        ------
        AuthorityUnavailable when it is away again: nothing is lost, and nothing doubled by telling it again
        """
        with self._lock:
            if self._journal.is_empty:
                return 0
            told = self._told()
            self._tell(told)
            crash_point(REPLAY_TOLD)
            self._journal.close_chapter()
            self._book.outdate()
            if told.exits or told.submissions:
                log.info("journal told", exits=len(told.exits), answers=len(told.submissions))
            return len(told.exits) + len(told.submissions)

    def keep(self, submissions: Sequence[Submission]) -> None:
        """Write down what the broker answered and the authority could not be told."""
        with self._lock:
            for submission in submissions:
                if submission.outcome is not Outcome.NOT_SENT:  # nothing happened: settlement finds that out
                    self._note(submission)

    def _fresh_view(self) -> Snapshot | None:
        is_old = self._clock.monotonic_s() - self._viewed_s > VIEW_AGE_MAX_S
        return self.view() if is_old else self._view

    def _told(self) -> Told:
        return Told((), ()) if self._journal.is_empty else fold(self._journal.acts())

    def _tell(self, told: Told) -> None:
        """Tell all at once; what the authority refuses is told one by one, so that it hides nothing else.

        Raises
        ------
        Refused when it is no judgement of what was told: it is told again later
        """
        try:
            self._tell_moves([exit_ for exit_, _ in told.exits if exit_.replaces_broker_id is not None])
            exits = [told_exit for told_exit in told.exits if told_exit[0].replaces_broker_id is None]
            if exits:
                self._ledger.record_offline_exits(exits)
            if told.submissions:
                self._desk.record_submissions(told.submissions)
        except Refused as refused:
            if refused.code.startswith(NO_JUDGEMENT):
                raise
            if len(told.exits) + len(told.submissions) == 1:
                log.error("the authority refuses a line of the journal", told=str(told), reason=refused.message)
                return
            for exit_ in told.exits:
                self._tell(Told((exit_,), ()))
            for submission in told.submissions:
                self._tell(Told((), (submission,)))

    def _tell_moves(self, moves: Sequence[OfflineExit]) -> None:
        """Tell of stops that were moved as the broker does: what each was, and then what has taken its place."""
        if not moves:
            return
        before = [self._broker.order(move.replaces_broker_id or "") for move in moves]
        after = [self._broker.order_by_client_id(move.id) for move in moves]
        orders = {order.broker_order_id: order for order in (*before, *after) if order is not None}
        in_turn = sorted(orders.values(), key=lambda order: (order.replaces is not None, order.submitted_at))
        self._desk.record_updates(in_turn)

    def _look(self, base: Snapshot, sent_ids: Sequence[str]) -> Seen:
        """See what has become of our orders. Whatever the list of open orders has not, is asked for."""
        theirs = self._broker.open_orders()
        listed = {order.client_order_id for order in theirs}
        ids = [order.id for order in base.orders if order.state.is_unsettled or waits_to_be_sent(order)]
        asked = [self._broker.order(broker_id) for broker_id in plan_sync(base.orders, theirs).lookups]
        asked += [self._broker.order_by_client_id(id) for id in {*ids, *sent_ids} - listed]
        return Seen(theirs, [order for order in asked if order is not None], self._broker.positions())

    def _answer(self, request: ExitRequest) -> Answer:
        try:
            return self._carry_out(request)
        except BrokerUnavailable as error:
            return Answer(request.id, OrderState.DENIED, "BROKER_UNAVAILABLE", str(error))

    def _carry_out(self, request: ExitRequest) -> Answer:
        trade = None if self._view is None else self._view.trades_by_id.get(request.trade_id)
        if trade is None:
            return Answer(request.id, OrderState.DENIED, "NO_POSITION", "Nothing of the trade is left at the broker.")
        if self._health.brake_is_on or self._is_halted(trade):
            return Answer(request.id, OrderState.DENIED, "TRADING_HALTED", "Trading is halted: nothing but cancels.")
        if request.replaces_broker_id is not None:
            return self._what_became_of(request.id) or self._move(trade, request)
        order_id = self._id_under_way(trade, request)
        for sent_id in (order_id, *later_ids(trade, request, order_id)):
            before = self._what_became_of(sent_id)
            if before is not None:
                return before
        return self._send(trade, request, order_id)

    def _is_halted(self, trade: OpenTrade) -> bool:
        control = self._health.control
        halted = self._restored_halts if control is None else control.halted
        return not halted.isdisjoint({GLOBALLY, ("profile", trade.profile_id), ("symbol", trade.symbol)})

    def _id_under_way(self, trade: OpenTrade, request: ExitRequest) -> str:
        """Return the id of the exit that the authority has accepted already, or else the request's own."""
        orders = () if self._view is None else self._view.orders
        mine = (o for o in orders if o.trade_id == trade.trade_id and o.purpose is request.purpose)
        return next((o.id for o in mine if not o.state.is_at_broker and o.replaces_broker_id is None), request.id)

    def _what_became_of(self, order_id: str) -> Answer | None:
        """Return what is known of an exit that was sent before, by us or by another engine; None: never sent."""
        found = self._broker.order_by_client_id(order_id)
        if found is None:
            return None
        known = {answer.id: answer for _, answer in self._told().exits}.get(order_id)
        if known is None or known.order != found:
            self._note(Submission(id=order_id, outcome=Outcome.ACCEPTED, order=found))
        return answer_of(order_id, found)

    def _send(self, trade: OpenTrade, request: ExitRequest, order_id: str) -> Answer:
        if request.purpose is Purpose.EXIT and not self._has_freed_shares(trade, order_id):
            return Answer(order_id, OrderState.DENIED, "LEGS_WORKING", "Its protective orders still hold the shares.")
        exit_ = self._plan(trade, request, order_id)
        if exit_ is None:
            return Answer(order_id, OrderState.DENIED, "NO_POSITION", "The account has no shares left for it.")
        return self._carry(exit_, trade)

    def _move(self, trade: OpenTrade, request: ExitRequest) -> Answer:
        """Bring a resting stop to another price. Its id is the one that the authority would give the move."""
        leg = next((leg for leg in trade.legs if leg.broker_order_id == request.replaces_broker_id), None)
        if leg is None:
            return Answer(
                request.id, OrderState.DENIED, "NOT_RESTING", "The stop that it moves does not rest any more."
            )
        return self._carry(offline_exit(trade, request, order_id=request.id, qty=leg.qty), trade)

    def _carry(self, exit_: OfflineExit, trade: OpenTrade) -> Answer:
        self._journal.append(Intended(at=self._clock.now(), exit=exit_))
        crash_point(OFFLINE_INTENDED)
        if self._health.brake_is_on:
            return Answer(exit_.id, OrderState.DENIED, "TRADING_HALTED", "The engine's local brake is on.")
        submission = self._broker.submit(offline_order(exit_, profile_id=trade.profile_id))
        crash_point(OFFLINE_SENT)
        if submission.outcome is Outcome.UNKNOWN or submission.may_be_duplicate:
            found = self._broker.order_by_client_id(exit_.id)
            if found is not None:
                submission = Submission(id=exit_.id, outcome=Outcome.ACCEPTED, order=found)
        self._note(submission)
        log.warning(
            "sent without the authority",
            order_id=exit_.id,
            trade_id=trade.trade_id,
            symbol=trade.symbol,
            purpose=exit_.purpose,
            qty=str(exit_.qty),
            why=exit_.reason,
            outcome=submission.outcome,
            code=submission.code,
        )
        return answer_to(submission)

    def _plan(self, trade: OpenTrade, request: ExitRequest, order_id: str) -> OfflineExit | None:
        entries = [] if self._view is None else [o.id for o in self._view.orders if o.purpose is Purpose.ENTRY]
        free = free_qty(trade, self._seen, [order_id], entries)
        qty = min(free, request.qty or free)
        if qty <= 0:
            return None
        return offline_exit(trade, request, order_id=order_id, qty=qty)

    def _has_freed_shares(self, trade: OpenTrade, order_id: str) -> bool:
        """Cancel what rests for a trade; False when something still rests, or has filled meanwhile."""
        view = self._view
        order = next((o for o in view.orders if o.id == order_id), None) if view is not None else None
        legs = blocking_legs(trade, order) if order else tuple(leg for leg in trade.legs if leg.broker_order_id)
        for leg in legs:
            self._cancel(trade.trade_id, leg.broker_order_id or "")
        give_up_s = self._clock.monotonic_s() + LEGS_GONE_WITHIN_S
        while True:
            now = [self._broker.order(leg.broker_order_id or "") for leg in legs]
            if not any(theirs is not None and theirs.is_open for theirs in now):
                pairs = zip(legs, now, strict=True)
                return not any(theirs is not None and theirs.filled_qty > leg.filled_qty for leg, theirs in pairs)
            if self._clock.monotonic_s() >= give_up_s:
                return False
            self._clock.sleep(LOOK_AGAIN_S)

    def _cancel(self, trade_id: str, broker_order_id: str) -> None:
        self._journal.append(Cancelled(at=self._clock.now(), trade_id=trade_id, broker_order_id=broker_order_id))
        self._broker.cancel(broker_order_id)

    def _note(self, submission: Submission) -> None:
        self._journal.append(Answered(at=self._clock.now(), submission=submission))
