"""What the engine asks of the gate, and the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

from engine.domain.book import Order, OrderState, Purpose

# Ids are derived, never drawn: the same decision made twice, before and after a crash, is one order.
_IDS: Final = UUID("6b7c1f0e-6d2c-5a53-9a8e-1f3d2c4b5a69")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What a strategy wants on one bar, and why."""

    strategy: str
    action: str
    strength: Decimal
    bar_at: datetime
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRequest:
    """A bracketed limit entry put to the gate. Prices in US dollars, quantity in shares."""

    id: str
    profile_id: str
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    reference_price: Decimal
    take_profit_price: Decimal
    stop_loss_price: Decimal
    market_at: datetime
    signal: Signal
    quote_at: datetime  # when `reference_price` was quoted, market time
    market_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRequest:
    """Close a trade (all of it when `qty` is None), or protect it with a resting stop."""

    id: str
    trade_id: str
    exit_reason: str
    reason: str
    market_at: datetime
    purpose: Purpose = Purpose.EXIT
    order_type: str = "market"
    qty: Decimal | None = None
    stop_price: Decimal | None = None
    replaces_broker_id: str | None = None  # move this resting stop instead of placing another


@dataclass(frozen=True, slots=True)
class Answer:
    """The gate's answer to one request; `code` and `reason` say why not, `permit` is the order that may be sent now."""

    id: str
    state: OrderState
    code: str | None
    reason: str | None
    permit: Order | None = None


def entry_id(*, profile_id: str, symbol: str, side: str, bar_at: datetime) -> str:
    """Return the id of the one entry that a profile may make of a bar."""
    return str(uuid5(_IDS, f"{profile_id}|{symbol}|{side}|{bar_at.isoformat()}|entry"))


def exit_id(*, trade_id: str, purpose: Purpose, attempt: int, replaces: str | None = None) -> str:
    """Return the id of a trade's n-th exit of a kind; each resting stop has attempts of its own to be moved."""
    subject = trade_id if replaces is None else f"{trade_id}|{replaces}"
    return str(uuid5(_IDS, f"{subject}|{purpose}|{attempt}"))
