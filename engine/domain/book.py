"""Our books as the authority keeps them: profiles, orders that are not over, open trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Final


class OrderState(StrEnum):
    DENIED = "denied"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVAL_REJECTED = "approval_rejected"
    APPROVAL_EXPIRED = "approval_expired"
    READY = "ready"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"

    @property
    def is_open(self) -> bool:
        return self in _OPEN

    @property
    def is_at_broker(self) -> bool:
        return self in (OrderState.WORKING, OrderState.PARTIALLY_FILLED)

    @property
    def is_unsettled(self) -> bool:
        """A permit is out, or the broker's answer was ambiguous."""
        return self in (OrderState.SUBMITTING, OrderState.UNKNOWN)


_OPEN: Final = frozenset(
    {
        OrderState.AWAITING_APPROVAL,
        OrderState.READY,
        OrderState.SUBMITTING,
        OrderState.UNKNOWN,
        OrderState.WORKING,
        OrderState.PARTIALLY_FILLED,
    }
)


class Purpose(StrEnum):
    ENTRY = "entry"
    EXIT = "exit"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One of our orders. `id` is the client order id at the broker, except for broker-made legs."""

    id: str
    profile_id: str
    symbol: str
    side: str
    purpose: Purpose
    qty: Decimal
    order_type: str
    order_class: str
    time_in_force: str
    state: OrderState
    trade_id: str | None = None
    parent_id: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    stop_loss_price: Decimal | None = None
    broker_order_id: str | None = None
    broker_status: str | None = None
    filled_qty: Decimal = Decimal(0)
    market_at: datetime | None = None
    broker_updated_at: datetime | None = None
    submitted_at: datetime | None = None
    permit_deadline: datetime | None = None
    cancel_requested_at: datetime | None = None
    replaces_broker_id: str | None = None  # the resting order whose place it takes at the broker

    @property
    def group_id(self) -> str:
        """The entry's id for an entry and for its legs alike."""
        return self.parent_id or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrade:
    """A position of one trade with its protective orders that are not over."""

    trade_id: str
    profile_id: str
    symbol: str
    side: str
    qty: Decimal
    stop_price: Decimal | None
    take_profit_price: Decimal | None
    exit_working: bool
    legs: tuple[Order, ...]
    avg_entry_price: Decimal | None = None
    opened_at: datetime | None = None
    mark_price: Decimal | None = None
    marked_at: datetime | None = None

    @property
    def is_long(self) -> bool:
        return self.side == "long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A strategy run by an owner. Capital in US dollars."""

    id: str
    name: str
    strategy: str
    symbols: tuple[str, ...]
    params: Mapping[str, Any]
    timeframe: str
    active: bool
    capital_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One consistent read of everything an engine acts on for its shard."""

    profiles: tuple[Profile, ...]
    trades: tuple[OpenTrade, ...]
    orders: tuple[Order, ...]
    risk_config: Mapping[str, Any]

    @cached_property
    def trades_by_id(self) -> dict[str, OpenTrade]:
        return {trade.trade_id: trade for trade in self.trades}

    @cached_property
    def profiles_by_id(self) -> dict[str, Profile]:
        return {profile.id: profile for profile in self.profiles}

    @cached_property
    def open_entries(self) -> dict[str, Order]:
        """The entries that can still fill, by their trade."""
        return {o.trade_id or o.id: o for o in self.orders if o.purpose is Purpose.ENTRY}

    @cached_property
    def open_entry_trades(self) -> frozenset[str]:
        """The trades whose entry can still fill."""
        return frozenset(o.trade_id or o.id for o in self.orders if o.purpose is Purpose.ENTRY)

    @cached_property
    def held(self) -> dict[tuple[str, str], list[OpenTrade]]:
        """Open trades by profile and symbol."""
        held: dict[tuple[str, str], list[OpenTrade]] = {}
        for trade in self.trades:
            held.setdefault((trade.profile_id, trade.symbol), []).append(trade)
        return held
