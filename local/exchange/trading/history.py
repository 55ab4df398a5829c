"""What the account was worth over time, from its fills and the prices of then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from local.exchange.market.calendar import TICK, Moment
from local.exchange.market.intraday import MINUTE, MINUTES
from local.exchange.trading.account import Fill, Split
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.store import Store


@dataclass(frozen=True, slots=True)
class Point:
    """Equity at one moment, and that of the close before it, in US dollars."""

    at: datetime
    equity: Decimal
    day_base: Decimal


def equity_points(exchange: Exchange, start: datetime, end: datetime, distance: timedelta | None) -> list[Point]:
    """Return the equity between two times: at each close, or every `distance` of regular hours."""
    found = _closes(exchange) if distance is None else _minutes(exchange, start, end, distance)
    return [point for point in found if start <= point.at <= end]


def _closes(exchange: Exchange) -> Iterator[Point]:
    before = exchange.ledger.state.opening_cash
    for close in exchange.ledger.store.closes():
        yield Point(close.at, close.equity, before)
        before = close.equity


def _minutes(exchange: Exchange, start: datetime, end: datetime, distance: timedelta) -> Iterator[Point]:
    """Walk through the minutes, and through the fills beside them; these happen on ticks."""
    state, market = exchange.ledger.state, exchange.market
    calendar, now = market.calendar, exchange.ledger.moment
    holdings = _Holdings(state.opening_cash, exchange.ledger.store)
    closes = {close.session: close.equity for close in exchange.ledger.store.closes()}
    for session in range(state.first_session, now.session + 1):
        day = calendar[session]
        if day.closes < start or day.opens > end:
            continue
        base = closes.get(session - 1, state.opening_cash)
        last = day.last_tick if session < now.session else now.tick
        for number in range(0, last * MINUTES + 1, distance // MINUTE):
            tick, minutes = divmod(number, MINUTES)
            moment = Moment(session, tick)
            holdings.advance(calendar.time_of(moment) + TICK)
            prices = {symbol: market.price_within(symbol, moment, minutes) for symbol in holdings.shares}
            yield Point(day.opens + number * MINUTE, holdings.worth(prices), base)


class _Holdings:
    """Cash and shares as they were, brought forward event by event."""

    def __init__(self, cash: Decimal, store: Store) -> None:
        self.cash = cash
        self.shares: dict[str, Decimal] = {}
        events: list[Fill | Split] = [*store.fills(), *store.splits()]
        self._coming = sorted(events, key=lambda event: -event.seq)

    def advance(self, before: datetime) -> None:
        """Book everything that happened before a time."""
        while self._coming and self._coming[-1].at < before:
            event = self._coming.pop()
            held = self.shares.get(event.symbol, ZERO)
            if isinstance(event, Split):
                held *= event.ratio
            else:
                self.cash += event.amount
                held += event.signed_qty
            self.shares.pop(event.symbol, None)
            if held:
                self.shares[event.symbol] = held

    def worth(self, prices: dict[str, Decimal]) -> Decimal:
        return self.cash + sum((qty * prices[symbol] for symbol, qty in self.shares.items()), ZERO)
