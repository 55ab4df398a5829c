"""The ledger checked against itself: what the fills say, next to what the account says.

Written apart from the code that books fills, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from local.exchange.trading.account import Fill, Split
from local.exchange.trading.numbers import CENT, ZERO, plain
from local.exchange.trading.order import Order, Side
from local.exchange.trading.store import Store


def check_ledger(store: Store) -> list[str]:
    """Return every contradiction found, in words; an empty list means that all agrees."""
    state = store.state()
    if state is None:
        return ["the ledger has no state"]
    fills, splits = list(store.fills()), list(store.splits())
    problems = _check_cash(state.cash, state.opening_cash, fills)
    problems += _check_positions({held.symbol: held.qty for held in store.positions()}, fills, splits)
    problems += _check_orders(store.orders("true order by seq", []), fills)
    return problems


def _check_cash(cash: Decimal, opening: Decimal, fills: Iterable[Fill]) -> list[str]:
    expected = opening
    for fill in fills:
        value = round(fill.qty * fill.price, 2)
        expected += value - fill.fee if fill.side is Side.SELL else -value
    return [] if cash == expected else [f"cash is {cash}, the fills say {expected.quantize(CENT)}"]


def _check_positions(stored: dict[str, Decimal], fills: Iterable[Fill], splits: Iterable[Split]) -> list[str]:
    expected: dict[str, Decimal] = {}
    events: list[Fill | Split] = [*fills, *splits]
    for event in sorted(events, key=lambda event: event.seq):
        held = expected.get(event.symbol, ZERO)
        if isinstance(event, Split):
            expected[event.symbol] = held * event.ratio
        else:
            expected[event.symbol] = held + (event.qty - event.fee if event.side is Side.BUY else -event.qty)
    return [
        f"{symbol}: position is {plain(stored.get(symbol, ZERO))}, the fills say {plain(expected.get(symbol, ZERO))}"
        for symbol in sorted({*stored, *expected})
        if stored.get(symbol, ZERO) != expected.get(symbol, ZERO)
    ]


def _check_orders(orders: Iterable[Order], fills: Iterable[Fill]) -> list[str]:
    filled: dict[str, Decimal] = {}
    for fill in fills:
        filled[fill.order_id] = filled.get(fill.order_id, ZERO) + fill.qty
        if fill.cum_qty != filled[fill.order_id]:
            return [f"fill {fill.id}: cumulative quantity does not add up"]
    problems = []
    for order in orders:
        if order.filled_qty != filled.pop(order.id, ZERO):
            problems.append(f"order {order.id}: filled_qty is not the sum of its fills")
        if order.filled_qty > order.qty:
            problems.append(f"order {order.id}: filled more than ordered")
    return problems + [f"fills without an order: {order_id}" for order_id in filled]
