"""Open orders, and the shares that they hold back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order, Side


class Book:
    """All open orders, in memory, in the order they were submitted."""

    def __init__(self, orders: Iterable[Order] = ()) -> None:
        self._orders: dict[str, Order] = {}
        self._by_symbol: dict[str, dict[str, Order]] = {}
        for order in orders:
            self.add(order)

    def __iter__(self) -> Iterator[Order]:
        return iter(list(self._orders.values()))

    def __len__(self) -> int:
        return len(self._orders)

    def add(self, order: Order) -> None:
        self._orders[order.id] = order
        self._by_symbol.setdefault(order.symbol, {})[order.id] = order

    def remove(self, order: Order) -> None:
        del self._orders[order.id]
        del self._by_symbol[order.symbol][order.id]

    def get(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def symbols(self) -> list[str]:
        return sorted(symbol for symbol, orders in self._by_symbol.items() if orders)

    def of_symbol(self, symbol: str) -> list[Order]:
        return list(self._by_symbol.get(symbol, {}).values())

    def others_of_group(self, order: Order) -> list[Order]:
        """Return the open orders that were submitted together with `order`."""
        group = [other for other in self.of_symbol(order.symbol) if other is not order]
        return [other for other in group if other.group_id == order.group_id]

    def closing(self, symbol: str) -> list[Order]:
        """Return the orders that hold shares back: active ones that reduce the position."""
        return [order for order in self.of_symbol(symbol) if order.active and order.intent.closes]

    def reserved(self, symbol: str, *, leaving_out: Order | None = None) -> Decimal:
        """Return how many shares open orders hold back; exits of one group count once."""
        held: dict[str, Decimal] = {}
        for order in self.closing(symbol):
            if order is leaving_out:
                continue
            key = order.group_id if order.is_exit_of_group else order.id
            held[key] = max(held.get(key, ZERO), order.remaining)
        return sum(held.values(), ZERO)

    def opening(self, symbol: str, side: Side) -> list[Order]:
        """Return the orders that would increase exposure on `side`."""
        orders = self.of_symbol(symbol)
        return [order for order in orders if order.side is side and not order.intent.closes]
