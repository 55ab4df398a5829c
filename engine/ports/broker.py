"""The broker, as the services need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Protocol

from engine.domain.book import Order
from engine.domain.broker_types import AccountState, BrokerOrder, BrokerPosition, Split
from engine.domain.submission import Submission


class Broker(Protocol):
    """Reads raise BrokerUnavailable or BrokerRefused; only `submit` never raises."""

    def submit(self, order: Order) -> Submission:
        """Send an order under its own id, once; ambiguous answers come back as unknown."""
        ...

    def cancel(self, broker_order_id: str) -> None:
        """Ask for the cancellation; an order that is over already is no error."""
        ...

    def order(self, broker_order_id: str, *, urgent: bool = False) -> BrokerOrder | None:
        """Return an order with its legs; None when the broker does not know it.

        `urgent` for an exit that waits for the answer: it may use what is kept of the rate limit.
        """
        ...

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = True) -> BrokerOrder | None:
        """Return the order that was sent under one of our ids; None when there is none.

        `urgent` as with `order`: what is unsettled is urgent.
        """
        ...

    def open_orders(self) -> Sequence[BrokerOrder]:
        """Return every open order of the account, legs as orders of their own."""
        ...

    def order_pages(
        self, after: datetime | None, *, nested: bool = True, patient: bool = True
    ) -> Iterator[Sequence[BrokerOrder]]:
        """Return all orders submitted after a market time (None: ever), oldest first, page by page.

        Nested, legs come with their entry; else as orders of their own. `patient` waits for the rate limit's
        leave instead of raising BrokerUnavailable.
        """
        ...

    def positions(self) -> Sequence[BrokerPosition]:
        """Return what the account holds."""
        ...


class BrokerAccount(Protocol):
    """The account's own state. Raises BrokerUnavailable or BrokerRefused."""

    def state(self) -> AccountState:
        """Tell whether the broker or its user has stopped the account from trading."""
        ...

    def splits(self, since: date, until: date) -> Sequence[Split]:
        """Return the splits of shares that took effect in a span of at most 90 days."""
        ...


class RateLimit(Protocol):
    """What the broker's limit of calls leaves."""

    def calls_left(self) -> int:
        """Return how many calls are left now beside those that are kept for exits and cancels."""
        ...


class TradeUpdates(Protocol):
    """The broker's stream of what happens to orders: a hint that something did, never the truth."""

    def start(self, on_hint: Callable[[], None]) -> None:
        """Listen; call `on_hint` for every update and after every connect, from a thread of its own."""
        ...

    def is_connected(self) -> bool: ...

    def reconnect(self) -> None:
        """Drop the connection, which may be deaf, and make another."""
        ...

    def stop(self) -> None: ...
