"""What the API answers, where the authority's own models do not say it already. Amounts are text."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from db.models import LockoutType, OrderState, PositionSide, Purpose, Side, TradingStatus, Why


class Listed(BaseModel):
    """A row as it is stored; a newer schema may add columns."""

    model_config = ConfigDict(extra="allow")


class ApprovalConfig(Listed):
    """When a person has to approve an entry."""

    auto_approve_paper: bool
    require_approval_for_live: bool
    approval_timeout_minutes: int


class ApprovalRow(Listed):
    """One approval. `shown_hash` is what a decision may send back."""

    id: UUID
    order_id: UUID
    profile_id: UUID
    symbol: str
    side: Side
    qty: str
    limit_price: str | None
    notional_usd: str | None
    reasons: list[str]
    shown_hash: str
    status: Literal["pending", "approved", "rejected", "expired", "denied", "canceled"]
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None


class Approvals(BaseModel):
    """One page; `next` starts the next one and is null on the last."""

    success: bool = True
    approvals: list[ApprovalRow]
    next: str | None


class LockoutRow(Listed):
    """One lockout, in force or over."""

    id: UUID
    ticker: str
    side: PositionSide | None
    profile_id: UUID | None
    lockout_type: LockoutType
    reason: str
    starts_at: datetime
    expires_at: datetime
    removed_at: datetime | None


class Lockouts(BaseModel):
    """One page; `next` starts the next one and is null on the last."""

    success: bool = True
    lockouts: list[LockoutRow]
    next: str | None


class ProfileRow(Listed):
    """One profile with its capital."""

    id: UUID
    name: str
    symbols: list[str]
    trading_mode: Literal["paper", "live", "disabled"]
    active: bool
    capital: dict[str, Any] | None


class PositionRow(Listed):
    """One open position."""

    trade_id: UUID
    profile_id: UUID
    symbol: str
    side: PositionSide
    qty: str
    protected_qty: str | None


class OrderRow(Listed):
    """One order that has not ended."""

    id: UUID
    profile_id: UUID
    symbol: str
    side: Side
    purpose: Purpose
    state: OrderState
    qty: str
    filled_qty: str


class Alert(BaseModel):
    """Something that a person should know about."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    at: datetime | None
    symbol: str | None
    detail: dict[str, Any]
    severity: Literal["warning", "critical"] | None = None


class Alerts(Listed):
    """What is wrong now."""

    success: bool = True
    alerts: list[Alert]


class MuteRow(Listed):
    """Notices that are held back; "*" stands for every rule or every subject."""

    id: UUID
    rule: str
    subject: str
    reason: str
    starts_at: datetime
    expires_at: datetime
    created_by_email: str


class Mutes(Listed):
    """What is muted now."""

    success: bool = True
    mutes: list[MuteRow]


class Health(Listed):
    """The engine's health beside what the authority says about trading."""

    success: bool = True
    version: str
    ready: bool
    isPaused: bool
    brake: bool
    tradingControl: TradingStatus
    jobs: dict[str, Any]


class Ready(Listed):
    """Whether the engine trades; `reasons` says why it does not."""

    ready: bool
    reasons: list[Any]


class Status(Listed):
    """Everything at once, as far as it is the caller's to see."""

    success: bool = True
    trading: TradingStatus
    health: Health
    profiles: list[ProfileRow]
    positions: list[PositionRow]
    orders: list[OrderRow]


class Symbol(Listed):
    """One symbol: what the gate says now, and what is held and under way."""

    success: bool = True
    symbol: str
    why: list[Why]
    lockouts: list[LockoutRow]
    positions: list[PositionRow]
    orders: list[OrderRow]
