"""The price levels that a symbol's orders wait for, so that a quiet tick costs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from local.exchange.market.market import Tick
from local.exchange.trading.order import Order, OrderType, Side

_NEVER_BELOW, _NEVER_ABOVE = Decimal("-Infinity"), Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Waiting:
    """The nearest level on each side; `eager` orders act on the very next tick."""

    eager: bool
    buy_limit_highest: Decimal
    sell_limit_lowest: Decimal
    buy_stop_lowest: Decimal
    sell_stop_highest: Decimal

    def is_over(self, tick: Tick) -> bool:
        """Tell whether any order could act on this tick."""
        return (
            self.eager
            or tick.ask <= self.buy_limit_highest
            or tick.bid >= self.sell_limit_lowest
            or tick.trade >= self.buy_stop_lowest
            or tick.trade <= self.sell_stop_highest
        )


def waiting_for(orders: Iterable[Order]) -> Waiting:
    """Return the levels that the active ones among `orders` wait for."""
    eager = False
    limits: dict[Side, list[Decimal]] = {Side.BUY: [], Side.SELL: []}
    stops: dict[Side, list[Decimal]] = {Side.BUY: [], Side.SELL: []}
    for order in orders:
        if not order.can_trade:
            continue
        if _is_eager(order):
            eager = True
        elif order.stop_price is not None and not order.triggered:
            stops[order.side].append(order.stop_price)
        elif order.limit_price is not None:
            limits[order.side].append(order.limit_price)
    return Waiting(
        eager=eager,
        buy_limit_highest=max(limits[Side.BUY], default=_NEVER_BELOW),
        sell_limit_lowest=min(limits[Side.SELL], default=_NEVER_ABOVE),
        buy_stop_lowest=min(stops[Side.BUY], default=_NEVER_ABOVE),
        sell_stop_highest=max(stops[Side.SELL], default=_NEVER_BELOW),
    )


def _is_eager(order: Order) -> bool:
    """Tell whether every tick matters: to trade at once, at an auction, or to trail the price."""
    if order.time_in_force.is_immediate or order.time_in_force.is_auction:
        return True
    if order.type is OrderType.TRAILING_STOP:
        return True
    return order.limit_price is None and (order.stop_price is None or order.triggered)
