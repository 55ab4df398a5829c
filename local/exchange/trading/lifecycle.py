"""What happens to an order and, through it, to the others of its group."""

from __future__ import annotations

from decimal import Decimal

from local.exchange.trading.ledger import Ledger
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import RARE, Leg, Order, Status


def cancel(ledger: Ledger, order: Order) -> None:
    """Cancel an open order and with it every open order of its group."""
    _end(ledger, order, Status.CANCELED)


def expire(ledger: Ledger, order: Order) -> None:
    """End an order whose time is over; a held leg has no way to expire and is canceled."""
    _end(ledger, order, Status.CANCELED if order.status is Status.HELD else Status.EXPIRED)


def reject(ledger: Ledger, order: Order) -> None:
    """End an order that was received and then refused; its exits go with it."""
    _end(ledger, order, Status.REJECTED)


def begin_cancel(ledger: Ledger, order: Order, due: int | None) -> None:
    """Make an order wait `due` ticks for its cancellation (None: for ever); it may still fill."""
    order.due = due
    ledger.move(order, Status.PENDING_CANCEL)


def trigger(ledger: Ledger, order: Order) -> None:
    """Set off a stop: from now on it trades as a market or limit order.

    Its take-profit goes first, so that the two never sell the same shares.
    """
    if order.leg is Leg.STOP_LOSS:
        for sibling in ledger.book.others_of_group(order):
            _finish(ledger, sibling, Status.CANCELED)
    order.triggered = True
    ledger.touch(order)
    if order.status is Status.HELD:
        ledger.move(order, Status.NEW)


def fix_quantity(ledger: Ledger, order: Order, qty: Decimal) -> None:
    """Set the quantity of an order in dollars; a sale never asks for more than is free."""
    if qty == order.qty:
        return
    if order.intent.closes:
        free = abs(ledger.account.qty(order.symbol)) - ledger.book.reserved(order.symbol, leaving_out=order)
        qty = min(qty, order.filled_qty + free)
    if qty > order.filled_qty:
        order.qty = qty
        ledger.touch(order)


def execute(ledger: Ledger, order: Order, qty: Decimal, price: Decimal) -> None:
    """Fill an order and let its group follow."""
    ledger.fill(order, qty, price)
    if order.replaced_by is not None:
        _shrink_replacement(ledger, order, qty)
    elif order.is_exit_of_group:
        _follow_exit(ledger, order)
    elif not order.is_open:
        _activate_exits(ledger, order)


def complete_replacement(ledger: Ledger, old: Order) -> Order | None:
    """End `old` as replaced and let the order that waited for it work; return that one."""
    new = ledger.book.get(old.replaced_by or "")
    old.due = None
    ledger.move(old, Status.REPLACED)
    if new is None:
        return None
    ledger.book.remove(new)
    new.awaits, new.active = None, True
    ledger.add(new)
    ledger.move(new, Status.NEW)
    return new


def _shrink_replacement(ledger: Ledger, old: Order, qty: Decimal) -> None:
    """What the old order still fills is not left for the new one; nothing left: it is rejected."""
    new = ledger.book.get(old.replaced_by or "")
    if new is None or new.awaits != old.id:
        return
    if not old.is_open or new.qty <= qty:
        old.replaced_by = None
        ledger.touch(old)
        ledger.move(new, Status.REJECTED)
        if old.is_open:
            ledger.move(old, Status.REPLACED)
        return
    new.qty -= qty
    ledger.touch(new)


def _end(ledger: Ledger, order: Order, status: Status) -> None:
    if order.status is Status.PENDING_REPLACE:
        successor = complete_replacement(ledger, order)
        if successor is None:
            return
        order = successor
    _finish(ledger, order, status)
    for other in ledger.book.others_of_group(order):
        _finish(ledger, other, Status.CANCELED)


def _finish(ledger: Ledger, order: Order, status: Status) -> None:
    """End one order by the way that leads there from its present state."""
    order.due = None
    *steps, end = _way(order.status, status)
    for step in steps:
        ledger.move(order, step, quietly=True)
    ledger.move(order, end)


def _way(now: Status, end: Status) -> list[Status]:
    if now is Status.PENDING_NEW:
        return [Status.REJECTED]
    if now in (Status.PENDING_CANCEL, Status.HELD):
        return [Status.CANCELED]
    if now is Status.ACCEPTED and end is Status.EXPIRED:
        return [Status.PENDING_NEW, Status.NEW, end]
    if now in RARE or (now is Status.ACCEPTED and end is Status.CANCELED):
        return [Status.PENDING_CANCEL, Status.CANCELED]
    return [end]


def _follow_exit(ledger: Ledger, order: Order) -> None:
    """One cancels the other; a partly filled exit leaves the other only the rest."""
    for sibling in ledger.book.others_of_group(order):
        if order.is_open:
            sibling.qty = sibling.filled_qty + order.remaining
            ledger.touch(sibling)
        else:
            _finish(ledger, sibling, Status.CANCELED)


def _activate_exits(ledger: Ledger, entry: Order) -> None:
    """Bring the exits of a filled entry to life, as large as what the entry bought.

    While the entry was only partly filled its shares were free, and another order may have sold
    or reserved some of them: the exits cover what is left, and never more than is held.
    """
    exits = ledger.book.others_of_group(entry)
    free = abs(ledger.account.qty(entry.symbol)) - ledger.book.reserved(entry.symbol)
    qty = min(entry.filled_qty, free)
    for leg in exits:
        if qty <= ZERO:
            ledger.move(leg, Status.CANCELED)
            continue
        leg.qty, leg.active = qty, True
        ledger.touch(leg)
        # The stop of a pair stays `held` until it is set off, and Alpaca shows it so.
        if not (leg.leg is Leg.STOP_LOSS and len(exits) > 1):
            ledger.move(leg, Status.NEW)
