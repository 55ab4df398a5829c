"""What happens to an order and, through it, to the others of its group."""

from __future__ import annotations

from decimal import Decimal

from local.exchange.trading.ledger import Ledger
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Leg, Order, Status


def cancel(ledger: Ledger, order: Order) -> None:
    """Cancel an open order and with it every open order of its group."""
    _end(ledger, order, Status.CANCELED)


def expire(ledger: Ledger, order: Order) -> None:
    """End an order whose time is over; a held leg has no way to expire and is canceled."""
    _end(ledger, order, Status.CANCELED if order.status is Status.HELD else Status.EXPIRED)


def trigger(ledger: Ledger, order: Order) -> None:
    """Set off a stop: from now on it trades as a market or limit order.

    Its take-profit goes first, so that the two never sell the same shares.
    """
    if order.leg is Leg.STOP_LOSS:
        for sibling in ledger.book.others_of_group(order):
            ledger.move(sibling, Status.CANCELED)
    order.triggered = True
    ledger.touch(order)
    if order.status is Status.HELD:
        ledger.move(order, Status.NEW)


def execute(ledger: Ledger, order: Order, qty: Decimal, price: Decimal) -> None:
    """Fill an order and let its group follow."""
    ledger.fill(order, qty, price)
    if order.is_exit_of_group:
        _follow_exit(ledger, order)
    elif not order.is_open:
        _activate_exits(ledger, order)


def _end(ledger: Ledger, order: Order, status: Status) -> None:
    ledger.move(order, status)
    for other in ledger.book.others_of_group(order):
        ledger.move(other, Status.CANCELED)


def _follow_exit(ledger: Ledger, order: Order) -> None:
    """One cancels the other; a partly filled exit leaves the other only the rest."""
    for sibling in ledger.book.others_of_group(order):
        if order.is_open:
            sibling.qty = sibling.filled_qty + order.remaining
            ledger.touch(sibling)
        else:
            ledger.move(sibling, Status.CANCELED)


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
