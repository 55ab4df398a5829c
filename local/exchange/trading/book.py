"""Open orders, and the shares that they hold back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order, Side, Status
from local.exchange.trading.waiting import Waiting, waiting_for


class Book:
    """All open orders, in memory, in the order they were submitted.

    What is asked on every order and every tick (the shares held back, the levels waited for, the
    members of a group) is kept at hand, so its cost does not grow with the orders that rest.
    """

    def __init__(self, orders: Iterable[Order] = ()) -> None:
        self._orders: dict[str, Order] = {}
        self._by_symbol: defaultdict[str, dict[str, Order]] = defaultdict(dict)
        self._by_group: defaultdict[str, dict[str, Order]] = defaultdict(dict)
        self._opening: defaultdict[tuple[str, Side], dict[str, Order]] = defaultdict(dict)
        self._own_costs: dict[str, Decimal] = {}
        self.own_cost = ZERO  # of the orders that would increase exposure, each at its own price
        self.opening_at_quotes: dict[str, Order] = {}  # those that have none
        self._held_by_group: dict[str, Decimal] = {}
        self._reserved: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._waiting: dict[str, Waiting] = {}
        self.due: dict[str, Order] = {}  # orders whose pending state a tick may end
        self.queued: dict[str, Order] = {}  # accepted orders that wait for the market
        self._told: dict[str, str] = {}
        for order in orders:
            self.add(order)

    def __iter__(self) -> Iterator[Order]:
        return iter(sorted(self._orders.values(), key=_seq))

    def __len__(self) -> int:
        return len(self._orders)

    def told(self, order: Order, tell: Callable[[Order], str]) -> str:
        """Return what `tell` says of an open order; it is asked again once the order has changed."""
        if order.id not in self._orders:
            return tell(order)
        if order.id not in self._told:
            self._told[order.id] = tell(order)
        return self._told[order.id]

    def add(self, order: Order) -> None:
        for index in self._indexes(order):
            index[order.id] = order
        self._refresh(order)
        self._note(order)
        self._count(order, order.own_cost)

    def remove(self, order: Order) -> None:
        for index in self._indexes(order):
            del index[order.id]
        self._refresh(order)
        self.due.pop(order.id, None)
        self.queued.pop(order.id, None)
        self.opening_at_quotes.pop(order.id, None)
        self._told.pop(order.id, None)
        self.own_cost -= self._own_costs.pop(order.id, ZERO)

    def refresh(self, order: Order) -> None:
        """Take note that an order's quantity, prices or activity changed."""
        if order.id in self._orders:
            self._refresh(order)
            self._note(order)
            self._count(order, order.own_cost)

    def get(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def symbols(self) -> list[str]:
        return sorted(symbol for symbol, orders in self._by_symbol.items() if orders)

    def of_symbol(self, symbol: str) -> list[Order]:
        return sorted(self._by_symbol[symbol].values(), key=_seq)

    def others_of_group(self, order: Order) -> list[Order]:
        """Return the open orders that were submitted together with `order`."""
        group = self._by_group.get(order.group_id, {})
        return [other for other in group.values() if other is not order]

    def group(self, group_id: str) -> list[Order]:
        """Return the open orders of a group, in the order they were submitted."""
        return sorted(self._by_group.get(group_id, {}).values(), key=_seq)

    def first_opening(self, symbol: str, side: Side) -> Order | None:
        return next(iter(self._opening[symbol, side].values()), None)

    def closing(self, symbol: str) -> list[Order]:
        """Return the orders that hold shares back: active ones that reduce the position."""
        return [order for order in self.of_symbol(symbol) if _holds_back(order)]

    def reserved(self, symbol: str, *, leaving_out: Order | None = None) -> Decimal:
        """Return how many shares open orders hold back; exits of one group count once."""
        left_out = self._held_by_group.get(leaving_out.group_id, ZERO) if leaving_out else ZERO
        return self._reserved[symbol] - left_out

    def waiting(self, symbol: str) -> Waiting:
        """Return the price levels at which orders of this symbol would act."""
        if symbol not in self._waiting:
            self._waiting[symbol] = waiting_for(self._by_symbol[symbol].values())
        return self._waiting[symbol]

    def _indexes(self, order: Order) -> Iterator[dict[str, Order]]:
        yield self._orders
        yield self._by_symbol[order.symbol]
        yield self._by_group[order.group_id]
        if not order.intent.closes:
            yield self._opening[order.symbol, order.side]

    def _note(self, order: Order) -> None:
        self._told.pop(order.id, None)
        for index, belongs in ((self.due, order.due is not None), (self.queued, order.status is Status.ACCEPTED)):
            if belongs:
                index[order.id] = order
            else:
                index.pop(order.id, None)

    def _count(self, order: Order, cost: Decimal | None) -> None:
        if order.intent.closes:
            return
        self.own_cost += (cost or ZERO) - self._own_costs.pop(order.id, ZERO)
        if cost is None:
            self.opening_at_quotes[order.id] = order
        else:
            self._own_costs[order.id] = cost
            self.opening_at_quotes.pop(order.id, None)

    def _refresh(self, order: Order) -> None:
        key = order.group_id
        group = self._by_group[key].values()
        if order.intent.closes:  # no other holds anything back
            held = max([each.remaining for each in group if _holds_back(each)], default=ZERO)
            self._reserved[order.symbol] += held - self._held_by_group.get(key, ZERO)
            self._held_by_group[key] = held
        if not group:
            del self._by_group[key]
            self._held_by_group.pop(key, None)
        self._waiting.pop(order.symbol, None)


def _seq(order: Order) -> int:
    return order.seq


def _holds_back(order: Order) -> bool:
    """Tell whether shares are held back; a pending replacement holds its own from the start."""
    return (order.active or order.awaits is not None) and order.intent.closes
