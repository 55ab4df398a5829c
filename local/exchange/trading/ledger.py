"""The ledger in memory: a cache of the store that changes in transactions.

Memory is changed first and written at the end of the transaction. When anything goes wrong in
between, memory is thrown away and read again, so that it never holds what the store does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from local.exchange.market.calendar import TICK, Moment
from local.exchange.market.halts import Halt
from local.exchange.market.market import Market, Shock
from local.exchange.trading.account import Account, Fill, Settings, Split, cash_change, crypto_fee
from local.exchange.trading.book import Book
from local.exchange.trading.controls import Controls
from local.exchange.trading.hours import Clock, Phase
from local.exchange.trading.invariants import Before, InvariantBroken, check_step
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order, Status
from local.exchange.trading.store import Changes, Close, State, Store, dump_settings, load_account

_AFTER = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Update:
    """Something that happened to an order, as the `trade_updates` stream tells it."""

    event: str
    order: Order
    at: datetime
    fill: Fill | None
    position_qty: Decimal


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of updates while listening; none is made while nobody is."""

    tell: Callable[[Update], None]
    is_listening: Callable[[], bool]


class Ledger:
    """Orders, account and simulated time; every change goes through one of its methods."""

    def __init__(self, store: Store, market: Market, *, owns_market: bool = True) -> None:
        self.store = store
        self.market = market
        self._owns_market = owns_market  # one ledger of several keeps the market's shocks and halts
        self.listeners: list[Listener] = []
        self._in_transaction = False
        self._load()

    def _load(self) -> None:
        state = self.store.state()
        if state is None:
            raise LookupError("the ledger has no state row")
        self.state: State = state
        self._namespace = UUID(state.ledger_id)
        self.clock = Clock(Moment(state.session, state.tick), state.after)
        self.account: Account = load_account(state, self.store.positions())
        self.book = Book(self.store.open_orders())
        self.controls = Controls.load(state.controls)
        self._dumped: tuple[Settings, Controls] | None = None
        if self._owns_market:
            self.market.disturb(self.store.shocks())
            self.market.suspend(self.store.halts())
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._orders: dict[str, Order] = {}
        self._regrouped: list[Order] = []
        self._fills: list[Fill] = []
        self._splits: list[Split] = []
        self._closes: list[Close] = []
        self._shocks: list[Shock] = []
        self._halts: list[Halt] = []
        self._updates: list[Update] = []
        self._symbols: set[str] = set()
        self._cash_before = self.account.cash
        self._held_before: dict[str, Decimal] = {}

    # -- transactions ---------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what happens inside one durable step: all of it, or nothing."""
        if self._in_transaction:
            yield
            return
        self._in_transaction = True
        try:
            yield
            changes = self._changes()
            check_step(Before(self._cash_before, self._held_before), changes, self.account, self.book)
            self.store.write(changes)
        except BaseException:
            self._load()
            raise
        finally:
            self._in_transaction = False
        updates = self._updates
        self._forget_changes()
        for update in updates:
            for listener in self.listeners:
                if listener.is_listening():
                    listener.tell(update)

    def _changes(self) -> Changes:
        self.state.cash = self.account.cash
        self.state.last_equity = self.account.last_equity
        self._dump_choices()
        positions, symbols = self.account.positions, sorted(self._symbols)
        return Changes(
            state=self.state,
            orders=self._orders.values(),
            regrouped=self._regrouped,
            fills=self._fills,
            splits=self._splits,
            closes=self._closes,
            shocks=self._shocks,
            halts=self._halts,
            positions=[positions[symbol] for symbol in symbols if symbol in positions],
            positions_closed=[symbol for symbol in symbols if symbol not in positions],
        )

    def _dump_choices(self) -> None:
        """Bring the texts of settings and controls up to date, which few transactions change."""
        chosen = (self.account.settings, self.controls)
        if chosen != self._dumped:
            self._dumped = deepcopy(chosen)
            self.state.settings, self.state.controls = dump_settings(self.account.settings), self.controls.dump()

    def _about_to_change(self, symbol: str) -> None:
        self._symbols.add(symbol)
        self._held_before.setdefault(symbol, self.account.qty(symbol))

    # -- time -----------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self._clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._clock, self._clock_time = clock, clock.time(self.market.calendar)
        self.state.session, self.state.tick = clock.moment.session, clock.moment.tick
        self.state.after = clock.after

    @property
    def moment(self) -> Moment:
        """The last tick of the tape, which is the one that prices are those of."""
        return self._clock.moment

    @property
    def now(self) -> datetime:
        """The simulated time: that of the last tick, or of the last event where it is later."""
        return max(self._clock_time, self.state.stamp)

    @property
    def is_open(self) -> bool:
        return self.phase is Phase.REGULAR

    @property
    def phase(self) -> Phase:
        return self.clock.phase(self.market.calendar)

    def stamp(self) -> datetime:
        """Return a time for one event; no two events share one, so paging by time is exact."""
        self.state.stamp = max(self._clock_time, self.state.stamp + _AFTER)
        return self.state.stamp

    # -- changes --------------------------------------------------------------------------------

    def new_id(self) -> tuple[int, str]:
        """Return the next sequence number and the id that belongs to it."""
        seq = self.state.next_seq
        self.state.next_seq += 1
        return seq, self.derived_id(str(seq))

    def derived_id(self, name: str) -> str:
        """Return an id that depends on the ledger and `name` alone: runs can be repeated."""
        return str(uuid5(self._namespace, name))

    def add(self, order: Order) -> None:
        self.book.add(order)
        self._orders[order.id] = order

    def touch(self, order: Order) -> None:
        """Take note of a changed order: the book looks again, and the transaction writes it."""
        self._orders[order.id] = order
        self.book.refresh(order)

    def move(self, order: Order, status: Status, *, quietly: bool = False) -> None:
        """Take an order to another state and, when that ends it, out of the book.

        What happens quietly is a step on the way that no update tells of.
        """
        order.move_to(status, self.stamp())
        self.touch(order)
        if not order.is_open:
            self.book.remove(order)
        if not quietly:
            self._tell(status.value, order)

    def regroup(self, order: Order, parent_id: str) -> None:
        """Make an exit follow another parent, the one that replaced its own."""
        self.book.remove(order)
        order.parent_id = parent_id
        self._regrouped.append(order)
        self.add(order)

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> None:
        """Execute part or all of an order: its fill, the cash and the position together."""
        if not ZERO < qty <= order.remaining:
            raise InvariantBroken(f"order {order.id}: fill of {qty}, {order.remaining} open")
        order.filled_qty += qty
        order.filled_value += qty * price
        complete = order.remaining == 0
        order.move_to(Status.FILLED if complete else _while_filling(order.status), self.stamp())
        self.touch(order)
        if complete:
            self.book.remove(order)
        fill = self._book_fill(order, qty, price)
        self._tell("fill" if complete else "partial_fill", order, fill)

    def _book_fill(self, order: Order, qty: Decimal, price: Decimal) -> Fill:
        seq, fill_id = self.new_id()
        fee = self._fee(order, qty, price)
        fill = Fill(
            seq=seq,
            id=fill_id,
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            amount=cash_change(order.side, qty, price, fee),
            at=order.updated_at,
            cum_qty=order.filled_qty,
            leaves_qty=order.remaining,
            order_status=order.status,
            fee=fee,
        )
        self._about_to_change(order.symbol)
        self.account.apply(fill)
        self._fills.append(fill)
        return fill

    def _fee(self, order: Order, qty: Decimal, price: Decimal) -> Decimal:
        if not order.is_crypto:
            return ZERO
        rested = order.type.has_limit and order.updated_at - order.submitted_at > TICK
        return crypto_fee(order.side, qty, price, maker=rested)

    def settle_positions(self) -> None:
        """Count the average prices of what was traded since the last open again, as Alpaca does over night."""
        for position in self.account.positions.values():
            if position.has_traded_today:
                self._about_to_change(position.symbol)
                position.settle()

    def split(self, symbol: str, ratio: int) -> None:
        split = Split(seq=self.new_id()[0], symbol=symbol, ratio=ratio, at=self.stamp())
        self._about_to_change(symbol)
        self.account.apply_split(split)
        self._splits.append(split)

    def shock(self, shock: Shock) -> None:
        self._shocks.append(shock)
        self.market.disturb([*self.store.shocks(), *self._shocks])

    def halt(self, symbol: str, *, halted: bool) -> None:
        """Stop a symbol from now on, or let it go on."""
        others = [other for other in self.controls.halted if other != symbol]
        self.controls.halted = [*others, symbol] if halted else others
        lasting = self.market.halts.lasting(symbol)
        if not self._owns_market or halted is (lasting is not None):
            return
        now = self._clock_time
        self._halts.append(replace(lasting, until=now) if lasting else Halt(symbol, now))
        self.market.suspend({(halt.symbol, halt.since): halt for halt in [*self.store.halts(), *self._halts]}.values())

    def close_session(self, equity: Decimal) -> None:
        self.account.last_equity = equity
        self._closes.append(Close(self.state.session, self.stamp(), equity))

    def _tell(self, event: str, order: Order, fill: Fill | None = None) -> None:
        if any(listener.is_listening() for listener in self.listeners):
            held = self.account.qty(order.symbol)
            self._updates.append(Update(event, replace(order), order.updated_at, fill, held))

    # -- lookups --------------------------------------------------------------------------------

    def order(self, order_id: str) -> Order | None:
        """Return an order, open (the live object) or ended (as it was stored)."""
        return self.book.get(order_id) or self._orders.get(order_id) or self.store.order(order_id)


def _while_filling(status: Status) -> Status:
    """Return the status of an order that filled in part: one that is pending stays so."""
    pending = status in (Status.PENDING_CANCEL, Status.PENDING_REPLACE)
    return status if pending else Status.PARTIALLY_FILLED
