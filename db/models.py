"""Rows and answers of the authority as typed values. Money and quantities are Decimal."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetPydanticSchema
from pydantic_core import CoreSchema

from engine.domain import book

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


class Stage(Row):
    """What is left of a staged resume: at `fraction` of their size, or by approval when it is None."""

    entries_left: int
    fraction: Decimal | None


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
    schedule_id: UUID | None = None
    stage: Stage | None = None


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
    schedule_id: UUID | None = None
    stage: Stage | None = None
    phase: Literal["running", "draining", "quiesced"]
    quiesced_at: datetime | None
    entries_in_flight: list[Permit]
    scopes: list[ScopeControl]
    next_change: dict[str, Any] | None
    approvals_waiting: int = 0
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


class PreflightItem(Row):
    """One thing that has to hold before trading resumes."""

    item: str
    ok: bool
    detail: str


class Preflight(Row):
    """What would stand in the way of a resume right now."""

    ok: bool
    items: list[PreflightItem]


class Schedule(Row):
    """A planned change of mode. Times of day are those of `time_zone`."""

    id: UUID
    scope: Scope
    scope_key: str
    mode: ControlMode
    kind: Literal["once", "weekly", "dates", "condition"]
    time_zone: str
    starts_at: datetime | None
    ends_at: datetime | None
    weekdays: list[int] | None
    dates: list[date] | None
    days_before: int
    days_after: int
    start_time: time
    end_time: time
    inverted: bool
    condition: dict[str, Any] | None
    resume_condition: dict[str, Any] | None
    reason_code: str
    reason: str
    active: bool
    in_force: bool
    created_by_email: str
    created_at: datetime


LockoutType = Literal["manual", "news_shock", "cooldown", "stoploss_guard", "drawdown", "reconciliation"]


class Lockout(Row):
    """No entries in a symbol from `starts_at` until `expires_at` or `removed_at`, whichever comes first."""

    id: UUID
    ticker: str
    side: PositionSide | None
    profile_id: UUID | None
    lockout_type: LockoutType
    reason: str
    detail: dict[str, Any]
    starts_at: datetime
    expires_at: datetime
    created_by_email: str
    removed_at: datetime | None
    removed_by_email: str | None
    removed_reason: str | None


class Override(Row):
    """A temporary permission to pass one limit of the gate."""

    id: UUID
    profile_id: UUID
    symbol: str | None
    code: str
    reason: str
    granted_by_email: str
    starts_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class Decision(Row):
    """What became of deciding one approval. `code` is the gate's when it said no at the release."""

    success: bool
    id: UUID
    status: Literal["approved", "rejected", "denied"] | None = None
    order_id: UUID | None = None
    order_state: OrderState | None = None
    code: str | None = None
    reason: str | None = None
    message: str | None = None


class PositionExit(Row):
    """The exit that a person asked for: the engine sends it."""

    success: bool
    order_id: UUID
    state: OrderState
    symbol: str
    qty: Decimal


class ConfigChange(Row):
    """The answer to a change of the risk configuration; `diff` is [{path, from, to}]."""

    changed: bool
    version: int
    config: dict[str, Any]
    diff: list[dict[str, Any]]


class RiskConfig(Row):
    """A version of the risk configuration as stored."""

    version: int
    config: dict[str, Any]
    active: bool
    created_by_email: str
    reason: str
    created_at: datetime
    diff: list[dict[str, Any]]


class Why(Row):
    """The gate's answer for one profile and symbol right now; `code` None: an entry would pass."""

    profile_id: UUID
    profile: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    code: str | None
    reason: str | None
    checks: list[dict[str, Any]]
    approval: list[str] | None
    lock_reason: str | None
    config_version: int
    judged_at: datetime


class ApprovalChecks(Row):
    """The gate's answer now for an entry that waits for a person; `code` None: it would pass."""

    code: str | None
    reason: str | None
    checks: list[dict[str, Any]]
    config_version: int
    judged_at: datetime


class AuditProof(Row):
    """The result of recomputing the audit log's hash chains, or some rows of them: it goes on after `next_after_id`."""

    ok: bool
    first_broken_id: int | None
    first_broken: dict[str, Any] | None = None
    chains: int
    rows: int
    next_after_id: int | None = None


class Lease(Row):
    """The answer to a request for a shard's lease; `token` is the fencing token."""

    acquired: bool
    token: int | None
    holder: str
    expires_at: datetime


class Recorded(Row):
    """What an order is after the broker's word was taken over.

    `late` marks an order that ended on our side but is alive at the broker: it has to be cancelled there.
    `id` and `state` are None for an order of the broker that we do not know.
    """

    id: UUID | None
    state: OrderState | None
    changed: bool = True
    late: bool = False
    after_pause: bool = False  # it is late, it is an entry, and trading was not running meanwhile
    deferred: bool = False  # it took the place of one of ours that is not known to be over
    client_order_id: str | None = None


class OrderPage(Row):
    """Which orders of a page say something new, and which are not ours, by their position from 1."""

    news: list[int]
    unknown: list[int]


class Adoption(Row):
    """What became of an order that is not ours, by the account's policy; `reason` says why it was not adopted."""

    adopted: bool
    policy: Literal["lock", "ignore", "adopt"]
    reason: str | None = None


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
    replaces_broker_id: str | None = None


class Answer(Row):
    """The gate's answer to one request, with the order when its permit came with it."""

    id: UUID
    state: OrderState
    code: str | None
    reason: str | None
    permit: Order | None = None


class OpenTrade(Row):
    """An open position; its protective legs are among the snapshot's orders."""

    trade_id: str
    profile_id: str
    symbol: str
    side: PositionSide
    qty: Decimal
    avg_entry_price: Decimal
    mark_price: Decimal | None
    stop_price: Decimal | None
    take_profit_price: Decimal | None
    opened_at: datetime
    marked_at: datetime | None
    exit_working: bool


class ProtectionTrade(Row):
    """A trade that was closed; `age_s` are the seconds since it was booked, by the database's clock."""

    trade_id: UUID
    profile_id: UUID
    symbol: str
    exit_reason: str
    pnl_usd: Decimal
    closed_at: datetime
    age_s: Decimal


class ProtectionBreak(Row):
    """A difference between our books and the broker's that is open."""

    finding_id: int
    kind: str
    symbol: str | None
    seen_again: bool
    age_s: Decimal


class ProtectionFacts(Row):
    """What system lockouts are judged by."""

    trades: list[ProtectionTrade]
    breaks: list[ProtectionBreak]


class RiskConfigVersion(Row):
    """The active risk configuration."""

    version: int
    config: dict[str, Any]


def _require_all(row_type: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Read a dataclass of the engine from a row that has every column: its defaults are for values made in code."""
    schema = handler.resolve_ref_schema(handler(row_type))
    for field in cast("Any", schema)["schema"]["fields"]:
        if field["schema"]["type"] == "default":
            field["schema"] = field["schema"]["schema"]
    return schema


OpenOrder = Annotated[book.Order, GetPydanticSchema(_require_all)]
EngineProfile = Annotated[book.Profile, GetPydanticSchema(_require_all)]


class EngineSnapshot(Row):
    """Everything an engine needs to act for its shard, from one consistent read; thousands of orders, so made once."""

    profiles: tuple[EngineProfile, ...]
    trades: list[OpenTrade]
    orders: tuple[OpenOrder, ...]
    legs: tuple[OpenOrder, ...]  # of trades of the shard, made by another one
    risk_config: RiskConfigVersion


class SchemaVersion(Row):
    """The version of the newest migration, and the oldest engine that gets permits for entries."""

    schema_: str = Field(alias="schema")
    oldest_engine: str


class SavedState(Row):
    """An engine's newest snapshot of itself."""

    state: dict[str, Any]
    saved_at: datetime
