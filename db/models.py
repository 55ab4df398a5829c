"""Rows and answers of the authority as typed values. Money and quantities are Decimal."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

ControlMode = Literal["RUNNING", "PAUSED", "HALTED"]
Scope = Literal["global", "profile", "symbol"]
Side = Literal["buy", "sell"]
PositionSide = Literal["long", "short"]
Purpose = Literal["entry", "exit", "stop_loss", "take_profit"]
OrderState = Literal[
    "denied", "awaiting_approval", "approval_rejected", "approval_expired", "ready", "submitting", "unknown",
    "working", "partially_filled", "filled", "canceled", "expired", "rejected", "replaced",
]  # fmt: skip


class Row(BaseModel):
    """A row: immutable, and tolerant of columns that a newer schema adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Permit(Row):
    """An entry whose permit is out or whose fate is not known."""

    order_id: UUID
    state: OrderState
    symbol: str | None
    permit_deadline: datetime | None


class ScopeControl(Row):
    """A scope that is not running, or the next planned change."""

    scope: Scope
    scope_key: str
    mode: ControlMode
    version: int
    reason: str
    reason_code: str
    changed_by_email: str
    changed_at: datetime
    resume_at: datetime | None = None
    quiesced_at: datetime | None = None


class EngineStatus(Row):
    """The engine's last sign of life, judged by the database's clock. `age_s` in seconds."""

    alive: bool
    age_s: Decimal | None
    beat_at: datetime | None
    market_at: datetime | None
    holder: str | None
    version: str | None


class TradingStatus(Row):
    """What the authority says about trading right now. `lastChangedAt` in epoch milliseconds."""

    mode: ControlMode
    lastChangedBy: str
    lastChangedAt: int
    reason: str
    reason_code: str
    version: int
    changed_at: datetime
    resume_at: datetime | None
    phase: Literal["running", "draining", "quiesced"]
    quiesced_at: datetime | None
    entries_in_flight: list[Permit]
    scopes: list[ScopeControl]
    next_change: dict[str, Any] | None
    engine: EngineStatus
    role: str
    email: str | None
    checked_at: datetime


class ControlAnswer(Row):
    """The answer to pause, resume or halt. `changed` is false when the mode was set already."""

    success: bool
    changed: bool
    message: str
    entries_canceled: int
    status: TradingStatus


class AuditProof(Row):
    """The result of recomputing the audit log's hash chains."""

    ok: bool
    first_broken_id: int | None
    chains: int
    rows: int


class Lease(Row):
    """The answer to a request for a shard's lease; `token` is the fencing token."""

    acquired: bool
    token: int | None
    holder: str
    expires_at: datetime


class Answer(Row):
    """The gate's answer to one request."""

    id: UUID
    state: OrderState
    code: str | None
    reason: str | None


class Recorded(Row):
    """What an order is after the broker's word was taken over.

    `late` marks an order that ended on our side but is alive at the broker: it has to be cancelled there.
    `id` and `state` are None for an order of the broker that we do not know.
    """

    id: UUID | None
    state: OrderState | None
    changed: bool = True
    late: bool = False
    client_order_id: str | None = None


class Profile(Row):
    """A strategy run by an owner, with its capital as committed."""

    id: UUID
    owner_id: UUID
    name: str
    strategy: str
    symbols: list[str]
    params: dict[str, Any]
    timeframe: str
    trading_mode: Literal["paper", "live", "disabled"]
    active: bool
    broker_account: str
    shard: str
    capital_usd: Decimal
    reserved_usd: Decimal = Decimal(0)
    used_usd: Decimal = Decimal(0)
    realized_usd: Decimal = Decimal(0)


class Order(Row):
    """One order intent; its id is the client order id at the broker (a broker-made leg has the broker's)."""

    id: UUID
    owner_id: UUID
    profile_id: UUID
    shard: str
    symbol: str
    side: Side
    position_side: PositionSide
    purpose: Purpose
    qty: Decimal
    order_type: str
    order_class: str
    time_in_force: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    take_profit_price: Decimal | None
    stop_loss_price: Decimal | None
    reference_price: Decimal | None
    state: OrderState
    code: str | None
    reason: str | None
    exit_reason: str | None
    trade_id: UUID | None
    parent_id: UUID | None
    permit_deadline: datetime | None
    permit_token: int | None
    broker_order_id: str | None
    broker_status: str | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    cancel_requested_at: datetime | None
    market_at: datetime | None
    broker_updated_at: datetime | None = None
    created_at: datetime
    submitted_at: datetime | None


class OpenTrade(Row):
    """An open position with its protective legs."""

    trade_id: UUID
    owner_id: UUID
    profile_id: UUID
    symbol: str
    side: PositionSide
    qty: Decimal
    avg_entry_price: Decimal
    cost_usd: Decimal
    mark_price: Decimal | None
    stop_price: Decimal | None
    take_profit_price: Decimal | None
    protected_qty: Decimal
    opened_at: datetime
    exit_working: bool
    legs: list[Order]


class RiskConfigVersion(Row):
    """The active risk configuration."""

    version: int
    config: dict[str, Any]


class EngineSnapshot(Row):
    """Everything an engine needs to act for its shard, from one consistent read."""

    profiles: list[Profile]
    trades: list[OpenTrade]
    orders: list[Order]
    controls: list[ScopeControl]
    risk_config: RiskConfigVersion


class SavedState(Row):
    """An engine's newest snapshot of itself."""

    state: dict[str, Any]
    saved_at: datetime
