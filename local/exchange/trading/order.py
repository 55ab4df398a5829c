"""Orders and the graph of states that they move through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from local.exchange.trading.numbers import CENT, ZERO


def is_crypto(symbol: str) -> bool:
    """Tell whether a symbol is a pair such as BTC/USD."""
    return "/" in symbol


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
    TRAILING_STOP = "trailing_stop"

    @property
    def has_limit(self) -> bool:
        return self in _LIMITS

    @property
    def has_stop(self) -> bool:
        return self in _STOPS

    @property
    def waits_for_trigger(self) -> bool:
        """Tell whether the order sleeps until the market reaches a price."""
        return self.has_stop or self is OrderType.TRAILING_STOP


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"

    @property
    def is_immediate(self) -> bool:
        """Tell whether the order has one tick to trade in."""
        return self in _IMMEDIATE

    @property
    def is_auction(self) -> bool:
        return self in _AUCTIONS


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
        return self in _CLOSING


class Status(StrEnum):
    """Every status that Alpaca documents; the rare ones come about by `/_sim` alone."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    DONE_FOR_DAY = "done_for_day"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    PENDING_REVIEW = "pending_review"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def can_trade(self) -> bool:
        """Tell whether an active order in this state may fill (a held stop may be set off)."""
        return self in _TRADING


# Kept at hand, since Python 3.11 takes its time over each member that is named.
_LIMITS = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
_CLOSING = (Intent.BUY_TO_CLOSE, Intent.SELL_TO_CLOSE)
TERMINAL = {Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED}
RARE = {
    Status.DONE_FOR_DAY,
    Status.STOPPED,
    Status.SUSPENDED,
    Status.CALCULATED,
    Status.ACCEPTED_FOR_BIDDING,
    Status.PENDING_REVIEW,
}
_TRADING = {
    Status.NEW,
    Status.HELD,
    Status.PARTIALLY_FILLED,
    Status.PENDING_CANCEL,
    Status.PENDING_REPLACE,
}
_WORKING_EXITS = {
    Status.PARTIALLY_FILLED,
    Status.FILLED,
    Status.CANCELED,
    Status.EXPIRED,
    Status.REPLACED,
    Status.PENDING_CANCEL,
    Status.PENDING_REPLACE,
    *RARE,
}

# from -> to; a terminal state has no way out. `held -> replaced` is the moved stop of a bracket.
# A pending order that fills in part stays pending.
NEXT_STATES: dict[Status, set[Status]] = {
    Status.PENDING_NEW: {Status.NEW, Status.ACCEPTED, Status.REJECTED},
    Status.ACCEPTED: {Status.PENDING_NEW, Status.PENDING_CANCEL, Status.REJECTED},
    Status.NEW: {Status.REJECTED, *_WORKING_EXITS},
    Status.HELD: {Status.NEW, Status.CANCELED, Status.REPLACED},
    Status.PARTIALLY_FILLED: {*_WORKING_EXITS},
    Status.PENDING_CANCEL: {Status.CANCELED, Status.FILLED, Status.PENDING_CANCEL},
    Status.PENDING_REPLACE: {Status.REPLACED, Status.FILLED, Status.PENDING_REPLACE},
    # The rare states lead back to work or to an end; a calculated order is filled or done.
    Status.DONE_FOR_DAY: {Status.NEW, Status.PENDING_CANCEL},
    Status.STOPPED: {Status.NEW, Status.PENDING_CANCEL},
    Status.SUSPENDED: {Status.NEW, Status.PENDING_CANCEL},
    Status.CALCULATED: {Status.FILLED, Status.DONE_FOR_DAY, Status.PENDING_CANCEL},
    Status.ACCEPTED_FOR_BIDDING: {Status.NEW, Status.PENDING_CANCEL},
    Status.PENDING_REVIEW: {Status.NEW, Status.PENDING_CANCEL, Status.REJECTED},
    **{status: set() for status in TERMINAL},
}


_STAMPS = {
    Status.FILLED: "filled_at",
    Status.CANCELED: "canceled_at",
    Status.EXPIRED: "expired_at",
    Status.REJECTED: "failed_at",
    Status.REPLACED: "replaced_at",
}


class IllegalTransition(Exception):
    """A bug in the exchange: an order was about to leave the graph of states."""


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. Quantities in shares, prices in US dollars, times aware UTC.

    `parent_id` names the order it was submitted with: the entry of a bracket or OTO, the
    take-profit of an OCO. `active` is False while an exit waits for its entry to fill, or a
    replacement for the order before it; only active orders match and reserve. `triggered` tells
    that a stop has been reached. `awaits` names the order that a pending replacement will take
    over from, and `due` counts the ticks until a pending state ends (None: never by itself).
    With a `notional`, `qty` is an estimate until the first fill tells the price.
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
    notional: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    awaits: str | None = None
    due: int | None = None
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    expires_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled_qty

    @property
    def own_cost(self) -> Decimal | None:
        """Return what the rest costs at the order's own price; None where quotes or another order have a say."""
        own = self.limit_price if self.type.has_limit else self.stop_price
        stands_alone = self.notional is None and self.awaits is None and self.replaced_by is None
        return self.remaining * own if own is not None and stands_alone and self.side is Side.BUY else None

    @property
    def is_open(self) -> bool:
        return not self.status.is_terminal

    @property
    def group_id(self) -> str:
        """Return what orders share that fill or hold back the same shares."""
        return self.parent_id or self.awaits or self.id

    @property
    def can_trade(self) -> bool:
        return self.active and self.status.can_trade

    @property
    def is_crypto(self) -> bool:
        return is_crypto(self.symbol)

    @property
    def is_exit_of_group(self) -> bool:
        return self.leg is not None

    @property
    def filled_avg_price(self) -> Decimal | None:
        if not self.filled_qty:
            return None
        return (self.filled_value / self.filled_qty).quantize(Decimal("0.000001"))

    def trail_from(self, mark: Decimal) -> Decimal:
        """Return the stop price that belongs to a high (or low) water mark."""
        distance = self.trail_price
        if distance is None:
            distance = mark * (self.trail_percent or ZERO) / 100
        return max(CENT, mark + self.side.sign * distance).quantize(CENT)

    def move_to(self, status: Status, at: datetime) -> None:
        """Change the status; raise IllegalTransition where the graph has no such edge."""
        if status not in NEXT_STATES[self.status]:
            raise IllegalTransition(f"order {self.id}: {self.status} -> {status}")
        self.status = status
        self.updated_at = at
        stamp = _STAMPS.get(status)
        if stamp:
            setattr(self, stamp, at)
