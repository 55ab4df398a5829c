"""What a test can do to an exchange that no client can: halts, blocks, trades by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from local.exchange.trading import errors, lifecycle
from local.exchange.trading.controls import Controls
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.order import NEXT_STATES, RARE, Order, Side, Status, TimeInForce, is_crypto
from local.exchange.trading.quotes import tick_of
from local.exchange.trading.ticket import Ticket


@contextmanager
def controlled(exchange: Exchange) -> Iterator[Controls]:
    """Change the controls inside the block; they are kept with the ledger."""
    with exchange.ledger.transaction():
        yield exchange.ledger.controls


def halt(exchange: Exchange, symbol: str, *, halted: bool) -> None:
    """Halt a symbol for this account, or let it trade again."""
    if is_crypto(symbol):
        raise errors.unprocessable("crypto pairs are never halted: halt a share")
    with exchange.ledger.transaction():
        exchange.ledger.halt(symbol, halted=halted)


def choose_profile(exchange: Exchange, profile: FillProfile) -> None:
    """Let orders fill another way from the next tick on, also after a restart."""
    with controlled(exchange) as controls:
        controls.fill_profile = profile.value
    exchange.profile = profile


def trade_by_hand(exchange: Exchange, symbol: str, side: Side, qty: Decimal) -> Order:
    """Buy or sell at the quote at once, as a person would outside of the client's program."""
    tif = TimeInForce.GTC if is_crypto(symbol) else TimeInForce.DAY
    with exchange.ledger.transaction():
        placed = exchange.place(Ticket(symbol=symbol, side=side, qty=qty, time_in_force=tif))
        order, tick = exchange.order(placed.id), tick_of(exchange.market, exchange.ledger, symbol)
        if order.status is Status.ACCEPTED:
            raise errors.unprocessable(f"{symbol} does not trade now")
        lifecycle.execute(exchange.ledger, order, qty, tick.ask if side is Side.BUY else tick.bid)
    return order


def fill_now(exchange: Exchange, order_id: str) -> None:
    """Fill the rest of a working order at its limit or the quote, as if the market had been quicker."""
    order = exchange.order(order_id)
    if not (order.is_open and order.can_trade) or order.status is Status.HELD:
        return
    tick = tick_of(exchange.market, exchange.ledger, order.symbol)
    with exchange.ledger.transaction():
        price = tick.ask if order.side is Side.BUY else tick.bid
        lifecycle.execute(exchange.ledger, order, order.remaining, order.limit_price or price)


def force_status(exchange: Exchange, order_id: str, status: Status) -> Order:
    """Put an order into a state that no client can bring about, along an edge of the graph."""
    order = exchange.order(order_id)
    waits = order.status is Status.HELD or order.awaits is not None  # for another order, and for nobody else
    if waits or status not in NEXT_STATES[order.status] or status not in {*RARE, Status.NEW, Status.REJECTED}:
        raise errors.unprocessable(f"no way from {order.status} to {status}")
    with exchange.ledger.transaction():
        if status is Status.REJECTED:
            lifecycle.reject(exchange.ledger, order)
        else:
            exchange.ledger.move(order, status)
    return order
