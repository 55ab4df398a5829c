"""The ledger in memory: a cache of the store that changes in transactions.

Memory is changed first and written at the end of the transaction. When anything goes wrong in
between, memory is thrown away and read again, so that it never holds what the store does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from local.exchange.market.calendar import Moment
from local.exchange.market.market import Market, Shock
from local.exchange.trading.account import Account, Fill, Split, cash_change
from local.exchange.trading.book import Book
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order, Status
from local.exchange.trading.store import Changes, Close, State, Store, dump_settings, load_account

_AFTER = timedelta(microseconds=1)


class InvariantBroken(Exception):
    """A bug in the exchange: a change would have left the ledger contradicting itself."""


@dataclass(frozen=True, slots=True)
class Update:
    """Something that happened to an order, as the `trade_updates` stream tells it."""

    event: str
    order: Order
    at: datetime
    fill: Fill | None
    position_qty: Decimal


class Ledger:
    """Orders, account and simulated time; every change goes through one of its methods."""

    def __init__(self, store: Store, market: Market) -> None:
        self.store = store
        self.market = market
        self.listeners: list[Callable[[Update], None]] = []
        self._in_transaction = False
        self._load()

    def _load(self) -> None:
        state = self.store.state()
        if state is None:
            raise LookupError("the ledger has no state row")
        self.state: State = state
        self.account: Account = load_account(state, self.store.positions())
        self.book = Book(self.store.open_orders())
        self.market.disturb(self.store.shocks())
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._orders: dict[str, Order] = {}
        self._fills: list[Fill] = []
        self._splits: list[Split] = []
        self._closes: list[Close] = []
        self._shocks: list[Shock] = []
        self._updates: list[Update] = []
        self._symbols: set[str] = set()
        self._cash_before = self.account.cash

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
            self._check_invariants()
            self.store.write(self._changes())
        except BaseException:
            self._load()
            raise
        finally:
            self._in_transaction = False
        updates = self._updates
        self._forget_changes()
        for update in updates:
            for listener in self.listeners:
                listener(update)

    def _changes(self) -> Changes:
        self.state.cash = self.account.cash
        self.state.last_equity = self.account.last_equity
        self.state.settings = dump_settings(self.account.settings)
        positions = self.account.positions
        return Changes(
            state=self.state,
            orders=self._orders.values(),
            fills=self._fills,
            splits=self._splits,
            closes=self._closes,
            shocks=self._shocks,
            positions=[positions[symbol] for symbol in self._symbols if symbol in positions],
            positions_closed=[symbol for symbol in self._symbols if symbol not in positions],
        )

    def _check_invariants(self) -> None:
        cash = self._cash_before + sum((fill.amount for fill in self._fills), ZERO)
        if cash != self.account.cash:
            raise InvariantBroken(f"cash is {self.account.cash}, the fills say {cash}")
        for symbol in self._symbols | {order.symbol for order in self._orders.values()}:
            held, reserved = self.account.qty(symbol), self.book.reserved(symbol)
            if not 0 <= reserved <= abs(held):
                raise InvariantBroken(f"{symbol}: {reserved} reserved of {held}")
        for order in self._orders.values():
            closes = order.is_open and order.active and order.intent.closes
            if closes and order.side.sign * self.account.qty(order.symbol) >= 0:
                raise InvariantBroken(f"order {order.id} would not close anything")

    # -- time -----------------------------------------------------------------------------------

    @property
    def moment(self) -> Moment:
        return Moment(self.state.session, self.state.tick)

    @moment.setter
    def moment(self, moment: Moment) -> None:
        self.state.session, self.state.tick = moment.session, moment.tick

    @property
    def now(self) -> datetime:
        """The simulated time: that of the last tick, or of the last event where it is later."""
        return max(self.market.calendar.time_of(self.moment), self.state.stamp)

    @property
    def is_open(self) -> bool:
        return self.market.calendar.is_open(self.moment)

    def stamp(self) -> datetime:
        """Return a time for one event; no two events share one, so paging by time is exact."""
        tick_time = self.market.calendar.time_of(self.moment)
        self.state.stamp = max(tick_time, self.state.stamp + _AFTER)
        return self.state.stamp

    # -- changes --------------------------------------------------------------------------------

    def new_id(self) -> tuple[int, str]:
        """Return the next sequence number and the id that belongs to it."""
        seq = self.state.next_seq
        self.state.next_seq += 1
        return seq, str(uuid5(UUID(self.state.ledger_id), str(seq)))

    def add(self, order: Order) -> None:
        self.book.add(order)
        self._orders[order.id] = order

    def touch(self, order: Order) -> None:
        """Take note of a changed order: the book looks again, and the transaction writes it."""
        self._orders[order.id] = order
        self.book.refresh(order)

    def move(self, order: Order, status: Status) -> None:
        """Take an order to another state and, when that ends it, out of the book."""
        order.move_to(status, self.stamp())
        self.touch(order)
        if not order.is_open:
            self.book.remove(order)
        self._tell(status.value, order)

    def regroup(self, order: Order, parent_id: str) -> None:
        """Make an exit follow another parent, the one that replaced its own."""
        self.book.remove(order)
        order.parent_id = parent_id
        self.add(order)

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> None:
        """Execute part or all of an order: its fill, the cash and the position together."""
        if not ZERO < qty <= order.remaining:
            raise InvariantBroken(f"order {order.id}: fill of {qty}, {order.remaining} open")
        order.filled_qty += qty
        order.filled_value += qty * price
        complete = order.remaining == 0
        order.move_to(Status.FILLED if complete else Status.PARTIALLY_FILLED, self.stamp())
        self.touch(order)
        if complete:
            self.book.remove(order)
        fill = self._book_fill(order, qty, price)
        self._tell("fill" if complete else "partial_fill", order, fill)

    def _book_fill(self, order: Order, qty: Decimal, price: Decimal) -> Fill:
        seq, fill_id = self.new_id()
        fill = Fill(
            seq=seq,
            id=fill_id,
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            amount=cash_change(order.side, qty, price),
            at=order.updated_at,
            cum_qty=order.filled_qty,
            leaves_qty=order.remaining,
            order_status=order.status,
        )
        self.account.apply(fill)
        self._fills.append(fill)
        self._symbols.add(order.symbol)
        return fill

    def split(self, symbol: str, ratio: int) -> None:
        split = Split(seq=self.new_id()[0], symbol=symbol, ratio=ratio, at=self.stamp())
        self.account.apply_split(split)
        self._splits.append(split)
        self._symbols.add(symbol)

    def shock(self, shock: Shock) -> None:
        self._shocks.append(shock)
        self.market.disturb([*self.store.shocks(), *self._shocks])

    def close_session(self, equity: Decimal) -> None:
        self.account.last_equity = equity
        self._closes.append(Close(self.state.session, self.stamp(), equity))

    def _tell(self, event: str, order: Order, fill: Fill | None = None) -> None:
        if self.listeners:
            held = self.account.qty(order.symbol)
            self._updates.append(Update(event, replace(order), order.updated_at, fill, held))

    # -- lookups --------------------------------------------------------------------------------

    def order(self, order_id: str) -> Order | None:
        """Return an order, open (the live object) or ended (as it was stored)."""
        return self.book.get(order_id) or self._orders.get(order_id) or self.store.order(order_id)
