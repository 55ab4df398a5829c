"""The exchange: everything a client or a test can ask of it, each change one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.listing import OrderFilter, Wanted, list_open, list_orders
from local.exchange.trading.margin import Valuation, value
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.order import Order, OrderClass, Side, Status, TimeInForce, is_crypto
from local.exchange.trading.quotes import ticks_of
from local.exchange.trading.stepping import Stepping
from local.exchange.trading.store import Changes, LedgerDamaged, State, Store, dump_settings
from local.exchange.trading.ticket import Ticket, read_ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a new ledger starts from; an existing one keeps its own."""

    seed: int
    start: date
    seconds_per_session: float = 60.0
    ledger_id: str | None = None


class Exchange(Stepping):
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
        if wanted.status is Wanted.OPEN and not wanted.nested:
            return list_open(self.ledger.book, wanted)
        return list_orders(self.ledger.store, wanted)

    def legs(self, order: Order) -> list[Order]:
        """Return the orders that were submitted with `order` as its exits."""
        return [] if order.parent_id else self.ledger.store.legs(order.id)

    def legs_of_new(self, order: Order) -> list[Order]:
        """Return the same of an order that was placed just now: its exits are in the book, unless it ended at once."""
        if order.parent_id or self.ledger.book.get(order.id) is None:
            return self.legs(order)
        return [leg for leg in self.ledger.book.group(order.id) if leg.parent_id == order.id]

    def legs_by_parent(self, orders: Sequence[Order]) -> Mapping[str, list[Order]]:
        """Return the same of many, by the id of each that has some."""
        return self.ledger.store.legs_by_parent([order.id for order in orders if not order.parent_id])

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

    # -- the clock and the prices ---------------------------------------------------------------

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


def open_exchange(path: Path, tape: Tape, birth: Birth, profile: FillProfile = FillProfile.ALPACA_PAPER) -> Exchange:
    """Open the ledger at `path`, or found a new one; a fill profile that was chosen since outlasts `profile`.

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
    ledger = Ledger(store, market)
    chosen = ledger.controls.fill_profile
    return Exchange(ledger, market, FillProfile(chosen) if chosen else profile)


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
