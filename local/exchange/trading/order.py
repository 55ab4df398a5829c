"""Orders and the graph of states that they move through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from local.exchange.trading.numbers import ZERO


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"

    @property
    def has_limit(self) -> bool:
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT)

    @property
    def has_stop(self) -> bool:
        return self in (OrderType.STOP, OrderType.STOP_LIMIT)


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class OrderClass(StrEnum):
    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class Leg(StrEnum):
    """Which exit of its group an order is."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


class Intent(StrEnum):
    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"

    @classmethod
    def of(cls, side: Side, *, closes: bool) -> Intent:
        return cls(f"{side}_to_{'close' if closes else 'open'}")

    @property
    def closes(self) -> bool:
        return self in (Intent.BUY_TO_CLOSE, Intent.SELL_TO_CLOSE)


class Status(StrEnum):
    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = {Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED}
_ENDINGS_UNFILLED = {Status.CANCELED, Status.EXPIRED, Status.REPLACED}

# from -> to; a terminal state has no way out
NEXT_STATES: dict[Status, set[Status]] = {
    Status.PENDING_NEW: {Status.NEW, Status.ACCEPTED, Status.REJECTED},
    Status.ACCEPTED: {Status.NEW, Status.CANCELED, Status.EXPIRED, Status.REJECTED},
    Status.NEW: {Status.PARTIALLY_FILLED, Status.FILLED, Status.REJECTED, *_ENDINGS_UNFILLED},
    Status.HELD: {Status.NEW, Status.CANCELED, Status.REPLACED},
    Status.PARTIALLY_FILLED: {Status.PARTIALLY_FILLED, Status.FILLED, *_ENDINGS_UNFILLED},
    **{status: set() for status in _TERMINAL},
}


class IllegalTransition(Exception):
    """A bug in the exchange: an order was about to leave the graph of states."""


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. Quantities in shares, prices in US dollars, times aware UTC.

    `parent_id` names the order it was submitted with: the entry of a bracket or OTO, the
    take-profit of an OCO. `active` is False while an exit waits for its entry to fill; only
    active orders match and reserve. `triggered` tells that a stop has been reached.
    """

    id: str
    seq: int
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    intent: Intent
    qty: Decimal
    status: Status
    submitted_at: datetime
    updated_at: datetime
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    parent_id: str | None = None
    leg: Leg | None = None
    active: bool = True
    triggered: bool = False
    extended_hours: bool = False
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    expires_at: datetime | None = None
    replaced_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled_qty

    @property
    def is_open(self) -> bool:
        return not self.status.is_terminal

    @property
    def group_id(self) -> str:
        return self.parent_id or self.id

    @property
    def is_exit_of_group(self) -> bool:
        return self.leg is not None

    @property
    def filled_avg_price(self) -> Decimal | None:
        if not self.filled_qty:
            return None
        return (self.filled_value / self.filled_qty).quantize(Decimal("0.000001"))

    def move_to(self, status: Status, at: datetime) -> None:
        """Change the status; raise IllegalTransition where the graph has no such edge."""
        if status not in NEXT_STATES[self.status]:
            raise IllegalTransition(f"order {self.id}: {self.status} -> {status}")
        self.status = status
        self.updated_at = at
        stamp = {
            Status.FILLED: "filled_at",
            Status.CANCELED: "canceled_at",
            Status.EXPIRED: "expired_at",
            Status.REPLACED: "replaced_at",
        }.get(status)
        if stamp:
            setattr(self, stamp, at)
