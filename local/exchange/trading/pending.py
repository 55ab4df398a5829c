"""Pending states that end by themselves after some ticks: they come about by faults alone."""

from __future__ import annotations

from local.exchange.trading import lifecycle
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.order import Order, Status


def settle(ledger: Ledger) -> None:
    """Count one tick for every pending order, and end those whose time has come.

    Called after the tick's fills: an order that could trade did so first, and won the race.
    """
    for order in sorted(ledger.book.due.values(), key=lambda each: each.seq):
        order.due = (order.due or 1) - 1
        if order.due > 0:
            ledger.touch(order)
        else:
            finish(ledger, order)


def finish(ledger: Ledger, order: Order) -> None:
    """Let a pending order have what it waits for."""
    order.due = None
    match order.status:
        case Status.PENDING_NEW:
            lifecycle.reject(ledger, order)
        case Status.PENDING_CANCEL:
            lifecycle.cancel(ledger, order)
        case Status.PENDING_REPLACE:
            lifecycle.complete_replacement(ledger, order)
        case _:
            ledger.touch(order)
