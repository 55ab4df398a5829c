"""The exchange: everything a client or a test can ask of it, each change one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

from local.exchange.market.calendar import PRE_OPEN, Moment
from local.exchange.market.market import Market, Shock
from local.exchange.market.tape import Tape
from local.exchange.trading import admission, errors, lifecycle, replacement, session, submission
from local.exchange.trading.account import OPENING_CASH, Account, Settings
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.controls import Controls
from local.exchange.trading.hours import Clock
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.listing import OrderFilter, list_orders
from local.exchange.trading.margin import Valuation, value
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.order import (
    NEXT_STATES,
    RARE,
    Order,
    OrderClass,
    Side,
    Status,
    TimeInForce,
    is_crypto,
)
from local.exchange.trading.quotes import tick_of, ticks_of
from local.exchange.trading.store import Changes, LedgerDamaged, State, Store, dump_settings
from local.exchange.trading.ticket import Ticket, read_ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a new ledger starts from; an existing one keeps its own."""

    seed: int
    start: date
    seconds_per_session: float = 60.0
    ledger_id: str | None = None


class Exchange:
    """One account trading against one simulated market.

    `followers` are further accounts on the same market, each with a ledger of its own; they move
    through time together with this one.
    """

    def __init__(self, ledger: Ledger, market: Market, profile: FillProfile) -> None:
        self.ledger = ledger
        self.market = market
        self.profile = profile
        self.followers: list[Exchange] = []
        self.throttle: session.Throttle | None = None

    # -- orders ---------------------------------------------------------------------------------

    def submit(self, body: Mapping[str, Any], *, rejected_after: int | None = None) -> Order:
        """Place an order; return it as received (raises Refusal, and then nothing changed)."""
        return self.place(read_ticket(body), rejected_after=rejected_after)

    def place(self, ticket: Ticket, *, rejected_after: int | None = None) -> Order:
        intent = admission.check(ticket, self.ledger, self.market)
        with self.ledger.transaction():
            return submission.place(ticket, intent, self.ledger, rejected_after=rejected_after)

    def replace(self, order_id: str, body: Mapping[str, Any], *, due: int | None = None) -> Order:
        """Change price, quantity or time in force; return the order that takes over.

        With `due` the replacement of a simple order stays pending that many ticks.
        """
        old = self.order(order_id)
        amendment = replacement.read_amendment(body, crypto=old.is_crypto)
        new = replacement.amend(old, amendment, self.ledger, self.market)
        with self.ledger.transaction():
            if due is not None and old.order_class is OrderClass.SIMPLE:
                return replacement.swap_later(old, new, self.ledger, due)
            return replacement.swap(old, new, self.ledger)

    def cancel(self, order_id: str) -> None:
        """Cancel an order and its group; cancelling a canceled order again does nothing."""
        order = self.order(order_id)
        if order.status is Status.CANCELED:
            return
        self._check_cancelable(order)
        with self.ledger.transaction():
            lifecycle.cancel(self.ledger, order)

    def cancel_slowly(self, order_id: str, ticks: int | None) -> None:
        """Let a cancellation pend for `ticks` (None: for ever); the order may fill meanwhile."""
        order = self.order(order_id)
        self._check_cancelable(order)
        if order.status is Status.HELD:
            raise errors.unprocessable("a held order cannot be pending_cancel")
        with self.ledger.transaction():
            lifecycle.begin_cancel(self.ledger, order, ticks)

    def cancel_all(self) -> list[tuple[str, errors.Refusal | None]]:
        """Cancel every open order; return the ids, each with its refusal where it has one."""
        answers: list[tuple[str, errors.Refusal | None]] = []
        with self.ledger.transaction():
            for order in list(self.ledger.book):
                answers.append((order.id, self._cancel_one(order)))
        return answers

    def _cancel_one(self, order: Order) -> errors.Refusal | None:
        try:
            if order.is_open:
                self._check_cancelable(order)
                lifecycle.cancel(self.ledger, order)
        except errors.Refusal as refusal:
            return refusal
        return None

    def _check_cancelable(self, order: Order) -> None:
        if not order.is_open or order.status in (Status.PENDING_NEW, Status.PENDING_REPLACE):
            raise errors.already(order.status)

    def order(self, order_id: str) -> Order:
        order = self.ledger.order(order_id)
        if order is None:
            raise errors.not_found(f"order not found for {order_id}")
        return order

    def order_by_client_id(self, client_order_id: str) -> Order:
        order = self.ledger.store.order_by_client_id(client_order_id)
        if order is None:
            raise errors.not_found(f"order not found for {client_order_id}")
        return order

    def orders(self, wanted: OrderFilter) -> list[Order]:
        return list_orders(self.ledger.store, wanted)

    def legs(self, order: Order) -> list[Order]:
        """Return the orders that were submitted with `order` as its exits."""
        return [] if order.parent_id else self.ledger.store.legs(order.id)

    # -- account --------------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        return self.ledger.account

    def valuation(self) -> Valuation:
        """Return what the account is worth at the current prices."""
        ticks = ticks_of(self.market, self.ledger)
        return value(self.account, self.ledger.book, ticks)

    def configure(self, settings: Settings) -> None:
        with self.ledger.transaction():
            self.account.settings = settings

    def close_position(self, symbol: str, qty: Decimal) -> Order:
        """Send the market order that reduces a position by `qty` shares."""
        held = self.account.qty(symbol)
        if not held:
            raise errors.not_found("position does not exist")
        side = Side.SELL if held > 0 else Side.BUY
        admission.check_free(self.ledger, symbol, qty, closes=True)
        tif = TimeInForce.GTC if is_crypto(symbol) else TimeInForce.DAY
        return self.place(Ticket(symbol=symbol, side=side, qty=qty, time_in_force=tif))

    # -- simulated time -------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return session.is_over(self.ledger, self.market)

    def step(self, ticks: int = 1) -> None:
        """Process the next `ticks` ticks, or as many as the tape has left."""
        with self._all_ledgers():
            for _ in range(ticks):
                if self.is_over:
                    return
                self._tick()

    def step_minutes(self, minutes: int) -> None:
        """Process `minutes` of market time, begun five counted full; nights take none."""
        with self._all_ledgers():
            for _ in range(-(-minutes // 5)):
                if not self.ledger.is_open:
                    self.step_to_open()  # the next open itself; the five minutes follow it
                self.step()

    def step_to_open(self) -> None:
        """Process everything up to and including the next open."""
        with self._all_ledgers():
            self.step()
            while not self.ledger.clock.is_open_tick and not self.is_over:
                self.step()

    def step_to_close(self) -> None:
        """Process everything up to and including the next close."""
        with self._all_ledgers():
            self.step()
            while not self.ledger.clock.is_close(self.market.calendar):
                self.step()

    def skip_night(self) -> None:
        """Go to shortly before the next open; the night is walked where orders may trade in it."""
        with self._all_ledgers():
            for each in self._accounts:
                each.pass_night(self.profile)

    def step_to_pre_open(self) -> None:
        """Process everything up to shortly before the next open, when auction orders may come."""
        with self._all_ledgers():
            if self.ledger.moment.tick < 0:
                self.step()
            while not self.ledger.clock.is_close(self.market.calendar) and not self.ledger.clock.after:
                self.step()
            self.skip_night()

    def pass_night(self, profile: FillProfile) -> None:
        """Take this account alone through the night, tick by tick where it has orders for it."""
        while not session.skip_night(self.ledger, self.market):
            self.catch_up(session.next_tick(self.ledger, self.market), profile)
            if self.ledger.moment.tick < 0:
                return

    @property
    def walks_the_night(self) -> bool:
        """Tell whether the coming tick lies outside regular hours, since orders may trade there."""
        return any(session.next_tick(each.ledger, self.market).is_outside for each in self._accounts)

    def _tick(self) -> None:
        clock = min(session.next_tick(each.ledger, self.market) for each in self._accounts)
        self._bring(clock)

    def _bring(self, clock: Clock) -> None:
        for each in self._accounts:
            each.catch_up(clock, self.profile)

    def catch_up(self, clock: Clock, profile: FillProfile) -> None:
        """Process this account's own ticks up to `clock`: the next one, or all it has missed."""
        while self.ledger.clock < clock:
            following = min(session.next_tick(self.ledger, self.market), clock)
            session.process_tick(self.ledger, self.market, profile, following, self.throttle)

    @property
    def _accounts(self) -> list[Exchange]:
        return [self, *self.followers]

    @contextmanager
    def _all_ledgers(self) -> Iterator[None]:
        """Make a step of all accounts: written one after another, this one's first.

        An account that a crash kept from being written is behind, and catches up at the start.
        """
        with ExitStack() as stack:
            for each in reversed(self._accounts):
                stack.enter_context(each.ledger.transaction())
            yield

    def set_clock(self, *, mode: str, seconds_per_session: float) -> None:
        with self.ledger.transaction():
            self.ledger.state.mode = mode
            self.ledger.state.seconds_per_session = seconds_per_session

    def shock(self, symbol: str, pct: Decimal) -> None:
        """Multiply a symbol's prices by 1 + `pct` from now to the end of the session."""
        moment = self.ledger.moment
        last = self.market.calendar[moment.session].last_tick
        since = moment if moment.tick < last else Moment(moment.session + 1, 0)
        with self.ledger.transaction():
            self.ledger.shock(Shock(symbol, replace(since, tick=max(0, since.tick)), pct))

    # -- what a test decides --------------------------------------------------------------------

    @contextmanager
    def controlled(self) -> Iterator[Controls]:
        """Change the controls inside the block; they are kept with the ledger."""
        with self.ledger.transaction():
            yield self.ledger.controls

    def halt(self, symbol: str, *, halted: bool) -> None:
        """Halt a symbol for all accounts, or let it trade again."""
        for each in self._accounts:
            with each.controlled() as controls:
                others = [other for other in controls.halted if other != symbol]
                controls.halted = [*others, symbol] if halted else others

    def trade_by_hand(self, symbol: str, side: Side, qty: Decimal) -> Order:
        """Buy or sell at the quote at once, as a person would outside of the client's program."""
        with self.ledger.transaction():
            placed = self.place(Ticket(symbol=symbol, side=side, qty=qty))
            order, tick = self.order(placed.id), tick_of(self.market, self.ledger, symbol)
            if order.status is Status.ACCEPTED:
                raise errors.unprocessable(f"{symbol} does not trade now")
            lifecycle.execute(self.ledger, order, qty, tick.ask if side is Side.BUY else tick.bid)
        return order

    def fill_now(self, order_id: str) -> None:
        """Fill the rest of a working order at the quote, as if the market had been quicker."""
        order = self.order(order_id)
        if not (order.is_open and order.can_trade):
            return
        tick = tick_of(self.market, self.ledger, order.symbol)
        with self.ledger.transaction():
            price = tick.ask if order.side is Side.BUY else tick.bid
            lifecycle.execute(self.ledger, order, order.remaining, order.limit_price or price)

    def force_status(self, order_id: str, status: Status) -> Order:
        """Put an order into a state that no client can bring about, along an edge of the graph."""
        order = self.order(order_id)
        if status not in NEXT_STATES[order.status] or status not in {*RARE, Status.NEW, Status.REJECTED}:
            raise errors.unprocessable(f"no way from {order.status} to {status}")
        with self.ledger.transaction():
            if status is Status.REJECTED:
                lifecycle.reject(self.ledger, order)
            else:
                self.ledger.move(order, status)
        return order


def open_exchange(path: Path, tape: Tape, birth: Birth, profile: FillProfile = FillProfile.ALPACA_PAPER) -> Exchange:
    """Open the ledger at `path`, or found a new one.

    Raises
    ------
    LedgerDamaged if it cannot be read or contradicts itself
    LedgerInUse if another process has it open
    ValueError if `birth.start` is not on the tape
    """
    store = Store(path)
    state = store.state()
    if state is None:
        state = _newborn(tape, birth)
        store.write(Changes(state))
    market = Market(tape, state.seed)
    problems = check_ledger(store)
    if problems:
        raise LedgerDamaged(f"{path} contradicts itself: {problems[0]}")
    return Exchange(Ledger(store, market), market, profile)


def _newborn(tape: Tape, birth: Birth) -> State:
    session_index = tape.calendar.index_from(birth.start)
    # The session before the first one gives every symbol a price before the open.
    if not 0 < session_index <= tape.last_session:
        first, last = tape.calendar[1].date, tape.calendar[tape.last_session].date
        raise ValueError(f"the start must lie between {first} and {last}")
    ledger_id = birth.ledger_id or str(uuid4())
    now = tape.calendar.time_of(Moment(session_index, PRE_OPEN))
    return State(
        ledger_id=ledger_id,
        seed=birth.seed,
        first_session=session_index,
        session=session_index,
        tick=PRE_OPEN,
        stamp=now,
        next_seq=1,
        mode="stepping",
        seconds_per_session=birth.seconds_per_session,
        account_id=str(uuid5(UUID(ledger_id), "account")),
        created_at=now,
        cash=OPENING_CASH,
        last_equity=OPENING_CASH,
        settings=dump_settings(Settings()),
    )
