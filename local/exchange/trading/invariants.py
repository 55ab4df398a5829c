"""What a transaction leaves must be what its fills and splits say: checked before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from local.exchange.trading.account import Account, Fill, Split
from local.exchange.trading.book import Book
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order
from local.exchange.trading.store import Changes


class InvariantBroken(Exception):
    """A bug in the exchange: a change would have left the ledger contradicting itself."""


@dataclass(frozen=True, slots=True)
class Before:
    """The cash before a transaction, and what was held of each symbol that it changes."""

    cash: Decimal
    held: Mapping[str, Decimal]


def check_step(before: Before, changes: Changes, account: Account, book: Book) -> None:
    """Compare what a transaction leaves with what it says that it did; raise InvariantBroken."""
    cash = before.cash + sum((fill.amount for fill in changes.fills), ZERO)
    if cash != account.cash:
        raise InvariantBroken(f"cash is {account.cash}, the fills say {cash}")
    _check_positions(before.held, changes, account)
    orders = list(changes.orders)
    for symbol in before.held.keys() | {order.symbol for order in orders}:
        held, reserved = account.qty(symbol), book.reserved(symbol)
        if not 0 <= reserved <= abs(held):
            raise InvariantBroken(f"{symbol}: {reserved} reserved of {held}")
    for order in orders:
        if _holds_shares(order) and order.side.sign * account.qty(order.symbol) >= 0:
            raise InvariantBroken(f"order {order.id} would not close anything")


def _check_positions(held: Mapping[str, Decimal], changes: Changes, account: Account) -> None:
    expected = dict(held)
    events: list[Fill | Split] = [*changes.fills, *changes.splits]
    for event in sorted(events, key=lambda event: event.seq):
        if isinstance(event, Split):
            expected[event.symbol] *= event.ratio
        else:
            expected[event.symbol] += event.signed_qty
    for symbol, qty in expected.items():
        if qty != account.qty(symbol):
            raise InvariantBroken(f"{symbol}: position is {account.qty(symbol)}, the fills say {qty}")


def _holds_shares(order: Order) -> bool:
    return order.is_open and order.active and order.intent.closes
