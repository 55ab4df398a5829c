"""The broker, as the services need it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from engine.domain.book import Order
from engine.domain.broker_types import BrokerOrder, BrokerPosition
from engine.domain.submission import Submission


class Broker(Protocol):
    """Reads raise BrokerUnavailable or BrokerRefused; only `submit` never raises."""

    def submit(self, order: Order) -> Submission:
        """Send an order under its own id, once; ambiguous answers come back as unknown."""
        ...

    def cancel(self, broker_order_id: str) -> None:
        """Ask for the cancellation; an order that is over already is no error."""
        ...

    def order(self, broker_order_id: str) -> BrokerOrder | None:
        """Return an order with its legs; None when the broker does not know it."""
        ...

    def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        """Return the order that was sent under one of our ids; None when there is none."""
        ...

    def open_orders(self) -> Sequence[BrokerOrder]:
        """Return every open order of the account, legs as orders of their own."""
        ...

    def orders_since(self, after: datetime) -> Sequence[BrokerOrder]:
        """Return every order submitted after a market time, with its legs, whatever its status."""
        ...

    def positions(self) -> Sequence[BrokerPosition]:
        """Return what the account holds."""
        ...


class BrokerAccount(Protocol):
    """The account's own state. Raises BrokerUnavailable or BrokerRefused."""

    def is_blocked(self) -> bool:
        """Tell whether the broker or its user has stopped the account from trading."""
        ...
