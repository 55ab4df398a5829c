"""The authority's rules for orders in memory, on a virtual clock: what db/schema does, as a plain model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from engine.domain.book import OpenTrade, Order, OrderState, Profile, Purpose, Snapshot
from engine.domain.broker_types import BrokerOrder, Split
from engine.domain.errors import AuthorityUnavailable
from engine.domain.recompute import Fill
from engine.domain.reconcile import Adoption, Finding, held_by
from engine.domain.requests import Answer, ExitRequest
from engine.domain.submission import Outcome, Submission
from engine.ports.authority import CancelRequest, Mark, UpdateAnswer
from engine.ports.ledger import PageAnswer, Run
from tests.support.sim_broker import Chances, Killed
from tests.unit.engine.fakes import ManualClock

ZERO: Final = Decimal(0)
PERMIT: Final = timedelta(seconds=3)
STATES: Final = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "replaced": OrderState.REPLACED,
}


@dataclass
class SimAuthority:
    """Implements OrderDesk and StateStore. A call may be lost before it acts, or its answer after."""

    clock: ManualClock
    chances: Chances
    profiles: tuple[Profile, ...]
    orders: dict[str, Order] = field(default_factory=dict)
    plans: dict[str, tuple[Decimal | None, Decimal | None]] = field(default_factory=dict)  # stop, target by trade
    fills: list[OrderFill] = field(default_factory=list)
    reserved_usd: dict[str, Decimal] = field(default_factory=dict)  # by order
    capital_usd: Decimal = Decimal(100_000)
    paused: bool = False
    late: int = 0
    breaches: list[str] = field(default_factory=list)

    # The world asks

    def ask(self, order: Order) -> bool:
        """Put an entry to the gate: capital is reserved when it is let through."""
        cost = order.qty * (order.limit_price or ZERO)
        if self.paused or order.id in self.orders or self.committed_usd() + cost > self.capital_usd:
            return False
        self.orders[order.id] = replace(order, state=OrderState.READY)
        self.reserved_usd[order.id] = cost
        self.plans[order.id] = order.stop_loss_price, order.take_profit_price
        return True

    def pause(self) -> None:
        self.paused = True
        for order in list(self.orders.values()):
            if order.purpose is Purpose.ENTRY and order.state is OrderState.READY:
                self._move(order.id, OrderState.CANCELED)
            elif order.purpose is Purpose.ENTRY and order.state.is_open:
                self.orders[order.id] = replace(order, cancel_requested_at=self.clock.now())

    def committed_usd(self) -> Decimal:
        used = sum((t.qty * (t.avg_entry_price or ZERO) for t in self._trades()), ZERO)
        return used + sum(self.reserved_usd.values(), ZERO)

    # The ports

    def request_exits(self, requests: Sequence[ExitRequest]) -> list[Answer]:
        return self._call(lambda: [self._exit(request) for request in requests])

    def request_entries(self, requests: object, *, permits: int = 0) -> list[Answer]:
        raise NotImplementedError

    def enter(self, order: Order, permits: int) -> list[Order]:
        """Put an entry to the gate as a call; what is let through gets its permit at once, if one may be issued."""
        return self._call(lambda: [self._permit(self.orders[order.id])] if self.ask(order) and permits else [])

    def request_cancels(self, requests: Sequence[CancelRequest]) -> int:
        def act() -> int:
            wanted = [self.orders[r.id] for r in requests if self.orders[r.id].state.is_open]
            for order in wanted:
                self.orders[order.id] = replace(order, cancel_requested_at=self.clock.now())
                if order.state is OrderState.READY:
                    self._move(order.id, OrderState.CANCELED)
            return len(wanted)

        return self._call(act)

    def claim(self, *, limit: int = 50, exits_only: bool = False) -> list[Order]:
        return self._call(lambda: [self._permit(o) for o in list(self.orders.values()) if self._may_go(o)][:limit])

    def record_submissions(self, submissions: Sequence[Submission]) -> None:
        self._call(lambda: [self._submitted(submission) for submission in submissions])

    def record_updates(self, orders: Sequence[BrokerOrder]) -> list[UpdateAnswer]:
        return self._call(lambda: [self._updated(order) for order in orders])

    def record_marks(self, marks: Sequence[Mark]) -> None:
        self._call(lambda: None)

    def record_equity(self, *_: Any) -> None: ...

    def record_bars(self, bars: Iterable[Any]) -> None: ...

    def save_state(self, state: Any) -> None: ...

    def load_state(self) -> None: ...

    def held(self) -> Mapping[str, Decimal]:
        return self._call(lambda: held_by(self.look()))

    def compare(self, orders: Sequence[BrokerOrder]) -> PageAnswer:
        def act() -> PageAnswer:
            pairs = [(order, self._ours(order)) for order in orders]
            news = [theirs for theirs, ours in pairs if ours is not None and _says_more(theirs, ours)]
            return PageAnswer(news=news, unknown=[theirs for theirs, ours in pairs if ours is None])

        return self._call(act)

    def adopt(self, orders: Sequence[BrokerOrder]) -> list[Adoption]:
        return [Adoption(order, adopted=False, policy="lock", reason="") for order in orders]

    def apply_split(self, split: Split, expected_qty: Decimal) -> bool:
        return False

    def note(self, run: Run, findings: Sequence[Finding]) -> None:
        self._call(lambda: None)

    def snapshot(self) -> Snapshot:
        return self._call(self.look)

    def look(self) -> Snapshot:
        """Return our books; not a call."""
        open_orders = tuple(order for order in self.orders.values() if order.state.is_open)
        return Snapshot(profiles=self.profiles, trades=tuple(self._trades()), orders=open_orders, risk_config={})

    # The rules

    def _call(self, act: Any) -> Any:
        if self.chances.strikes("killed"):
            raise Killed
        if self.chances.strikes("authority lost before"):
            raise AuthorityUnavailable("no answer")
        answer = act()
        if self.chances.strikes("killed"):
            raise Killed
        if self.chances.strikes("authority lost after"):
            raise AuthorityUnavailable("no answer")
        return answer

    def _exit(self, request: ExitRequest) -> Answer:
        known = self.orders.get(request.id)
        if known is not None:
            return Answer(known.id, known.state, None, None)
        trade = next((t for t in self._trades() if t.trade_id == request.trade_id), None)
        if trade is None or (request.purpose is Purpose.EXIT and trade.exit_working):
            return Answer(request.id, OrderState.DENIED, "NO_POSITION", "nothing to leave")
        self.orders[request.id] = Order(
            id=request.id, profile_id=trade.profile_id, symbol=trade.symbol, side="sell", purpose=request.purpose,
            qty=min(request.qty or trade.qty, trade.qty), order_type=request.order_type, order_class="simple",
            time_in_force="gtc", state=OrderState.READY, trade_id=trade.trade_id, stop_price=request.stop_price,
            market_at=request.market_at,
        )  # fmt: skip
        return Answer(request.id, OrderState.READY, None, None)

    def _may_go(self, order: Order) -> bool:
        return order.state is OrderState.READY and not (self.paused and order.purpose is Purpose.ENTRY)

    def _permit(self, order: Order) -> Order:
        now = self.clock.now()
        self.orders[order.id] = replace(
            order, state=OrderState.SUBMITTING, submitted_at=now, permit_deadline=now + PERMIT
        )
        return self.orders[order.id]

    def _submitted(self, told: Submission) -> None:
        if told.outcome is Outcome.ACCEPTED:
            assert told.order is not None
            self._apply(told.id, told.order)
        elif self.orders[told.id].state.is_unsettled:
            given_up = OrderState.CANCELED if self.orders[told.id].purpose is Purpose.ENTRY else OrderState.READY
            states = {Outcome.REJECTED: OrderState.REJECTED, Outcome.UNKNOWN: OrderState.UNKNOWN}
            self._move(told.id, states.get(told.outcome, given_up))

    def _updated(self, theirs: BrokerOrder) -> UpdateAnswer:
        before = self._ours(theirs)
        if before is None:
            return UpdateAnswer(None, None, changed=False, late=False)
        self._apply(before.id, theirs)
        after = self.orders[before.id]
        was_over = not before.state.is_open and before.state is not OrderState.FILLED
        is_late = was_over and (theirs.is_open or after.filled_qty > before.filled_qty)
        self.late += is_late
        return UpdateAnswer(after.id, after.state, changed=after != before, late=is_late)

    def _ours(self, theirs: BrokerOrder) -> Order | None:
        if theirs.client_order_id in self.orders:
            return self.orders[theirs.client_order_id]
        return next((o for o in self.orders.values() if o.broker_order_id == theirs.broker_order_id), None)

    def _apply(self, id: str, theirs: BrokerOrder) -> None:
        """Take over what the broker says; never backwards."""
        ours = self.orders[id]
        filled = max(ours.filled_qty, theirs.filled_qty)
        if filled > ours.filled_qty:
            self._book(ours, filled - ours.filled_qty, theirs)
        self.orders[id] = replace(
            ours, broker_order_id=theirs.broker_order_id, filled_qty=filled, broker_updated_at=theirs.updated_at,
            broker_status=theirs.status if ours.state.is_open else ours.broker_status,
        )  # fmt: skip
        working = OrderState.PARTIALLY_FILLED if filled else OrderState.WORKING
        if ours.state.is_open and theirs.filled_qty >= ours.filled_qty:
            self._move(id, STATES.get(theirs.status, working))
        for leg in theirs.legs:
            leg_id = f"of {leg.broker_order_id}"
            if leg_id not in self.orders:
                purpose = Purpose.STOP_LOSS if leg.type == "stop" else Purpose.TAKE_PROFIT
                self.orders[leg_id] = replace(
                    ours, id=leg_id, side=leg.side, purpose=purpose, qty=leg.qty, order_type=leg.type,
                    state=OrderState.WORKING, parent_id=id, broker_order_id=leg.broker_order_id, filled_qty=ZERO,
                    limit_price=leg.limit_price, stop_price=leg.stop_price, cancel_requested_at=None,
                )  # fmt: skip
            self._apply(leg_id, leg)
        self._reserve(id)

    def _book(self, ours: Order, qty: Decimal, theirs: BrokerOrder) -> None:
        paid = sum((f.qty * f.price for f in self.fills if f.order == ours.id), ZERO)
        price = (theirs.filled_qty * (theirs.filled_avg_price or ZERO) - paid) / qty
        self.fills.append(
            OrderFill(
                trade_id=ours.trade_id or ours.id,
                profile_id=ours.profile_id,
                symbol=ours.symbol,
                side=ours.side,
                purpose=ours.purpose,
                qty=qty,
                price=price,
                executed_at=theirs.updated_at,
                order=ours.id,
            )
        )

    def _move(self, id: str, state: OrderState) -> None:
        order = self.orders[id]
        if not order.state.is_open and state is not order.state:
            self.breaches.append(f"{id} went from {order.state} to {state}")
        self.orders[id] = replace(order, state=state)
        self._reserve(id)

    def _reserve(self, id: str) -> None:
        order = self.orders[id]
        if id in self.reserved_usd:
            rest = order.qty - order.filled_qty if order.state.is_open else ZERO
            self.reserved_usd[id] = rest * (order.limit_price or ZERO)

    def _trades(self) -> list[OpenTrade]:
        own: dict[str, list[Order]] = defaultdict(list)
        paid: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.orders.values():
            own[order.trade_id or order.id].append(order)
        for fill in self.fills:
            paid[fill.trade_id] += fill.qty * fill.price if fill.side == "buy" else ZERO
        found = [self._trade(self.orders[entry], own[entry], paid[entry]) for entry in self.plans]
        return [trade for trade in found if trade is not None]

    def _trade(self, entry: Order, own: Sequence[Order], paid: Decimal) -> OpenTrade | None:
        sold = sum((o.filled_qty for o in own if o.purpose is not Purpose.ENTRY), ZERO)
        if entry.filled_qty <= sold:
            return None
        stop, target = self.plans[entry.id]
        return OpenTrade(
            trade_id=entry.id,
            profile_id=entry.profile_id,
            symbol=entry.symbol,
            side="long",
            qty=entry.filled_qty - sold,
            stop_price=stop,
            take_profit_price=target,
            exit_working=any(o.purpose is Purpose.EXIT and o.state.is_open for o in own),
            legs=tuple(o for o in own if o.state.is_open and o.purpose in (Purpose.STOP_LOSS, Purpose.TAKE_PROFIT)),
            avg_entry_price=paid / entry.filled_qty,
        )


def _says_more(theirs: BrokerOrder, ours: Order) -> bool:
    over = not ours.state.is_open
    return theirs.filled_qty != ours.filled_qty or over == theirs.is_open or ours.broker_order_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFill(Fill):
    """A fill that remembers its order."""

    order: str
