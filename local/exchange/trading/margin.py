"""What the account is worth and what it may still buy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from local.exchange.market.market import Tick
from local.exchange.trading.account import Account
from local.exchange.trading.book import Book
from local.exchange.trading.hours import Phase
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order, OrderType, Side

SHORT_COLLAR = Decimal("1.03")
SHORTING_EQUITY_USD_MIN = Decimal(2_000)
FULL_MARGIN_EQUITY_USD_MIN = Decimal(25_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Valuation:
    """The account at one moment; all in US dollars, `short_value` negative."""

    cash: Decimal
    long_value: Decimal
    short_value: Decimal
    held: Decimal
    multiplier: int

    @property
    def equity(self) -> Decimal:
        return self.cash + self.long_value + self.short_value

    @property
    def exposure(self) -> Decimal:
        return self.long_value - self.short_value

    @property
    def buying_power(self) -> Decimal:
        return self.buying_power_at(self.multiplier)

    def buying_power_at(self, multiplier: int) -> Decimal:
        """Return what new orders may cost: `multiplier` times equity, less what is in use."""
        return max(ZERO, multiplier * self.equity - self.exposure - self.held)


def value(account: Account, book: Book, ticks: Mapping[str, Tick]) -> Valuation:
    """Return what the account is worth at `ticks`, which cover positions and open orders."""
    values = [held.qty * ticks[held.symbol].trade for held in account.positions.values()]
    long_value = sum((amount for amount in values if amount > 0), ZERO)
    short_value = sum((amount for amount in values if amount < 0), ZERO)
    equity = account.cash + long_value + short_value
    return Valuation(
        cash=account.cash,
        long_value=long_value,
        short_value=short_value,
        held=book.own_cost + sum((_held_by(order, book, ticks) for order in book.opening_at_quotes.values()), ZERO),
        multiplier=min(_multiplier(equity), int(account.settings.max_margin_multiplier)),
    )


def opening_cost(order: Priced, tick: Tick, phase: Phase = Phase.REGULAR) -> Decimal:
    """Return what an order that opens or adds takes from buying power.

    Without a price of its own a purchase counts at the ask in regular hours, at the middle in
    extended hours and at the last trade while closed.
    """
    if order.notional is not None:
        return order.notional
    return order.qty * _price(order, tick, phase)


class Priced(Protocol):
    """A ticket or an order: what its cost depends on."""

    @property
    def side(self) -> Side: ...
    @property
    def type(self) -> OrderType: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def notional(self) -> Decimal | None: ...
    @property
    def limit_price(self) -> Decimal | None: ...
    @property
    def stop_price(self) -> Decimal | None: ...


def rest_cost(order: Order, tick: Tick) -> Decimal:
    """Return what the unfilled part of an open order takes from buying power."""
    if order.notional is not None:
        return max(ZERO, order.notional - order.filled_value)
    return order.remaining * _price(order, tick, Phase.REGULAR)


def _price(order: Priced, tick: Tick, phase: Phase) -> Decimal:
    own = order.limit_price if order.type.has_limit else order.stop_price
    if order.side is Side.SELL:
        return max(own or ZERO, SHORT_COLLAR * tick.ask)
    if own is not None:
        return own
    if phase is Phase.REGULAR:
        return tick.ask
    return (tick.bid + tick.ask) / 2 if phase is Phase.EXTENDED else tick.trade


def _held_by(order: Order, book: Book, ticks: Mapping[str, Tick]) -> Decimal:
    """Return what an order holds; while it is being replaced, the larger of the two."""
    if order.awaits is not None:
        return ZERO
    cost = rest_cost(order, ticks[order.symbol])
    successor = book.get(order.replaced_by) if order.replaced_by else None
    return cost if successor is None else max(cost, rest_cost(successor, ticks[order.symbol]))


def _multiplier(equity: Decimal) -> int:
    if equity >= FULL_MARGIN_EQUITY_USD_MIN:
        return 4
    return 2 if equity >= SHORTING_EQUITY_USD_MIN else 1
