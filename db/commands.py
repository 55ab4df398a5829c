"""One typed function per function of the authority. Each is one transaction there.

Amounts go out as strings, so that no float ever touches them. Every function raises
`db.errors.AuthorityError` or one of its kinds.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from supabase import Client

from db.errors import translated
from db.models import (
    Answer,
    AuditProof,
    ConfigChange,
    ControlAnswer,
    Decision,
    EngineSnapshot,
    Lease,
    Lockout,
    Order,
    Override,
    Preflight,
    Recorded,
    RiskConfig,
    SavedState,
    Schedule,
    Scope,
    TradingStatus,
    Why,
)

Payload = Sequence[Mapping[str, Any]]


def trading_status(client: Client) -> TradingStatus:
    """Return what the authority says about trading right now. Any member; the engine."""
    return TradingStatus.model_validate(_call(client, "trading_status"))


def pause_trading(
    client: Client,
    *,
    reason: str,
    request_id: UUID | None = None,
    scope: Scope = "global",
    scope_key: str | None = None,
    reason_code: str = "manual",
    resume_at: datetime | None = None,
    cancel_entries: bool = True,
    expected_version: int | None = None,
) -> ControlAnswer:
    """Stop entries in a scope; open positions keep their protection. Admins only."""
    return _control(
        client,
        "pause_trading",
        p_reason=reason,
        p_request_id=request_id,
        p_scope=scope,
        p_scope_key=scope_key,
        p_reason_code=reason_code,
        p_resume_at=resume_at,
        p_cancel_entries=cancel_entries,
        p_expected_version=expected_version,
    )


def resume_trading(
    client: Client,
    *,
    reason: str,
    request_id: UUID | None = None,
    scope: Scope = "global",
    scope_key: str | None = None,
    reason_code: str = "manual",
    expected_version: int | None = None,
    override_reason: str | None = None,
    stage_entries: int | None = None,
    stage_fraction: Decimal | None = None,
) -> ControlAnswer:
    """Let entries flow again in a scope, once the pre-flight list is met or overridden. Admins only.

    Parameters
    ----------
    stage_entries : how many entries are held back at first; None: none
    stage_fraction : they run at this fraction of their size, 0 < x < 1; None: they need approval

    Raises
    ------
    PreflightFailed with the failing items in `details`, unless there is an `override_reason`
    """
    return _control(
        client,
        "resume_trading",
        p_reason=reason,
        p_request_id=request_id,
        p_scope=scope,
        p_scope_key=scope_key,
        p_reason_code=reason_code,
        p_expected_version=expected_version,
        p_override_reason=override_reason,
        p_stage_entries=stage_entries,
        p_stage_fraction=stage_fraction,
    )


def halt_trading(
    client: Client,
    *,
    reason: str,
    request_id: UUID | None = None,
    scope: Scope = "global",
    scope_key: str | None = None,
    reason_code: str = "manual",
    expected_version: int | None = None,
) -> ControlAnswer:
    """Leave nothing but cancels in a scope. Admins only."""
    return _control(
        client,
        "halt_trading",
        p_reason=reason,
        p_request_id=request_id,
        p_scope=scope,
        p_scope_key=scope_key,
        p_reason_code=reason_code,
        p_expected_version=expected_version,
    )


def preflight_resume(client: Client, *, scope: Scope = "global", scope_key: str | None = None) -> Preflight:
    """Return what would stand in the way of a resume right now. Operators and admins."""
    return Preflight.model_validate(_call(client, "preflight_resume", p_scope=scope, p_scope_key=scope_key))


def schedule_trading_mode(client: Client, *, mode: str, kind: str, reason: str, **plan: Any) -> Schedule:
    """Plan a change of mode; `plan` holds the other arguments of the function without their `p_`. Admins only.

    Windows: `kind` once (starts_at, ends_at), weekly (weekdays 1 to 7, start_time, end_time) or dates (dates,
    days_before, days_after), in `time_zone`; `inverted` pauses outside them. Condition: `condition` and
    `resume_condition` are {"metric", "above" | "below", "for_s"}.
    """
    arguments = {f"p_{name}": value for name, value in plan.items()}
    data = _call(client, "schedule_trading_mode", p_mode=mode, p_kind=kind, p_reason=reason, **arguments)
    return Schedule.model_validate(data["schedule"])


def cancel_schedule(client: Client, *, schedule_id: UUID, reason: str, request_id: UUID | None = None) -> str:
    """Withdraw a schedule and return what becomes of a pause that it has set. Admins only."""
    data = _call(client, "cancel_schedule", p_schedule_id=schedule_id, p_reason=reason, p_request_id=request_id)
    return str(data["message"])


def create_lockout(
    client: Client,
    *,
    ticker: str,
    reason: str,
    duration_minutes: int = 60,
    lockout_type: str = "manual",
    side: str | None = None,
    request_id: UUID | None = None,
) -> Lockout:
    """Keep entries out of a symbol from now on. Operators and admins."""
    data = _call(
        client,
        "create_lockout",
        p_ticker=ticker,
        p_reason=reason,
        p_duration_minutes=duration_minutes,
        p_lockout_type=lockout_type,
        p_side=side,
        p_request_id=request_id,
    )
    return Lockout.model_validate(data["lockout"])


def remove_lockout(client: Client, *, lockout_id: UUID, reason: str, request_id: UUID | None = None) -> Lockout:
    """End one lockout early. Operators and admins."""
    data = _call(client, "remove_lockout", p_lockout_id=lockout_id, p_reason=reason, p_request_id=request_id)
    return Lockout.model_validate(data["lockout"])


def grant_override(
    client: Client,
    *,
    profile_id: UUID,
    code: str,
    reason: str,
    minutes: int,
    symbol: str | None = None,
    request_id: UUID | None = None,
) -> Override:
    """Let a profile's entries pass one limit for up to a day. Admins only."""
    data = _call(
        client,
        "grant_override",
        p_profile_id=profile_id,
        p_code=code,
        p_reason=reason,
        p_minutes=minutes,
        p_symbol=symbol,
        p_request_id=request_id,
    )
    return Override.model_validate(data["override"])


def revoke_override(client: Client, *, override_id: UUID, reason: str, request_id: UUID | None = None) -> Override:
    """Withdraw an override before its time. Admins only."""
    data = _call(client, "revoke_override", p_override_id=override_id, p_reason=reason, p_request_id=request_id)
    return Override.model_validate(data["override"])


def set_profile_active(
    client: Client, *, profile_id: UUID, active: bool, reason: str, request_id: UUID | None = None
) -> bool:
    """Switch a profile on or off; return whether that changed anything. Admins only."""
    data = _call(
        client,
        "set_profile_active",
        p_profile_id=profile_id,
        p_active=active,
        p_reason=reason,
        p_request_id=request_id,
    )
    return bool(data["changed"])


def set_member_role(client: Client, *, user_id: UUID, role: str, reason: str, request_id: UUID | None = None) -> bool:
    """Give a member another role; return whether that changed anything. Admins only."""
    data = _call(client, "set_member_role", p_user_id=user_id, p_role=role, p_reason=reason, p_request_id=request_id)
    return bool(data["changed"])


def decide_approval(
    client: Client,
    *,
    approval_id: UUID,
    decision: Literal["approve", "reject"],
    reason: str | None = None,
    shown_hash: str | None = None,
    request_id: UUID | None = None,
) -> Decision:
    """Approve or reject one entry, once; the gate judges again at the release. Operators and admins."""
    data = _call(
        client,
        "decide_approval",
        p_approval_id=approval_id,
        p_decision=decision,
        p_reason=reason,
        p_shown_hash=shown_hash,
        p_request_id=request_id,
    )
    return Decision.model_validate(data)


def decide_approvals(
    client: Client,
    *,
    approval_ids: Sequence[UUID],
    decision: Literal["approve", "reject"],
    reason: str | None = None,
    request_id: UUID | None = None,
) -> list[Decision]:
    """Decide several; each stands or falls by itself, answers in the order of the ids. Operators and admins."""
    data = _call(
        client,
        "decide_approvals",
        p_approval_ids=[str(id) for id in approval_ids],
        p_decision=decision,
        p_reason=reason,
        p_request_id=request_id,
    )
    return [Decision.model_validate(row) for row in data["decisions"]]


def risk_config(client: Client) -> RiskConfig:
    """Return the active risk configuration. Admins only."""
    return RiskConfig.model_validate(_call(client, "risk_config"))


def update_risk_config(
    client: Client, *, config: Mapping[str, Any], expected_version: int, reason: str, request_id: UUID | None = None
) -> ConfigChange:
    """Replace the risk configuration; Conflict when someone changed it meanwhile. Admins only."""
    data = _call(
        client,
        "update_risk_config",
        p_config=dict(config),
        p_expected_version=expected_version,
        p_reason=reason,
        p_request_id=request_id,
    )
    return ConfigChange.model_validate(data)


def revert_risk_config(
    client: Client, *, version: int, expected_version: int, reason: str, request_id: UUID | None = None
) -> ConfigChange:
    """Make an earlier version's content the active one, as a new version. Admins only."""
    data = _call(
        client,
        "revert_risk_config",
        p_version=version,
        p_expected_version=expected_version,
        p_reason=reason,
        p_request_id=request_id,
    )
    return ConfigChange.model_validate(data)


def approval_config(client: Client) -> dict[str, Any]:
    """Return when a person has to approve an entry, with the defaults filled in. Operators and admins."""
    return dict(_call(client, "approval_config"))


def update_approval_config(
    client: Client,
    *,
    patch: Mapping[str, Any],
    reason: str = "Approval settings changed.",
    expected_version: int | None = None,
    request_id: UUID | None = None,
) -> ConfigChange:
    """Change some approval settings and leave the rest of the configuration alone. Admins only."""
    data = _call(
        client,
        "update_approval_config",
        p_patch=dict(patch),
        p_reason=reason,
        p_expected_version=expected_version,
        p_request_id=request_id,
    )
    return ConfigChange.model_validate(data)


def why(
    client: Client,
    *,
    symbol: str,
    profile_id: UUID | None = None,
    side: str = "buy",
    qty: Decimal = Decimal(1),
    price: Decimal | None = None,
) -> list[Why]:
    """Return the gate's answer for a symbol right now, per profile that the caller sees. Any member."""
    data = _call(client, "why", p_symbol=symbol, p_profile_id=profile_id, p_side=side, p_qty=qty, p_price=price)
    return [Why.model_validate(row) for row in data]


def verify_audit_chain(client: Client) -> AuditProof:
    """Recompute the audit log's hash chains. Admins only."""
    return AuditProof.model_validate(_call(client, "verify_audit_chain"))


def acquire_lease(client: Client, *, shard: str, holder: str, ttl_s: int) -> Lease:
    """Ask for a shard's lease; `acquired` is false while another holder's runs."""
    return Lease.model_validate(_call(client, "acquire_lease", p_shard=shard, p_holder=holder, p_ttl_s=ttl_s))


def release_lease(client: Client, *, shard: str, token: int) -> bool:
    """Give the lease back, so that the next engine need not wait. False when it was not ours."""
    return bool(_call(client, "release_lease", p_shard=shard, p_token=token))


def heartbeat(
    client: Client,
    *,
    shard: str,
    token: int,
    version: str,
    market_at: datetime | None,
    jobs: Mapping[str, Any],
    detail: Mapping[str, Any],
    ttl_s: int,
) -> TradingStatus:
    """Renew the lease and leave a sign of life; return the trading status."""
    data = _call(
        client,
        "heartbeat",
        p_shard=shard,
        p_token=token,
        p_version=version,
        p_market_at=market_at,
        p_jobs=dict(jobs),
        p_detail=dict(detail),
        p_ttl_s=ttl_s,
    )
    return TradingStatus.model_validate(data)


def engine_snapshot(client: Client, *, shard: str, token: int) -> EngineSnapshot:
    """Return profiles, open trades, open orders, controls and the risk configuration of a shard."""
    return EngineSnapshot.model_validate(_call(client, "engine_snapshot", p_shard=shard, p_token=token))


def request_entries(client: Client, *, shard: str, token: int, requests: Payload) -> list[Answer]:
    """Put entries to the gate; answers come in the order of the requests."""
    data = _call(client, "request_entries", p_shard=shard, p_token=token, p_requests=list(requests))
    return [Answer.model_validate(row) for row in data]


def request_exits(client: Client, *, shard: str, token: int, requests: Payload) -> list[Answer]:
    """Ask for exits of open trades; never gated by a pause."""
    data = _call(client, "request_exits", p_shard=shard, p_token=token, p_requests=list(requests))
    return [Answer.model_validate(row) for row in data]


def claim_orders(client: Client, *, shard: str, token: int, limit: int = 50, purpose: str | None = None) -> list[Order]:
    """Take permits for orders that are ready, exits first."""
    data = _call(client, "claim_orders", p_shard=shard, p_token=token, p_limit=limit, p_purpose=purpose)
    return [Order.model_validate(row) for row in data]


def record_submission(client: Client, *, shard: str, token: int, results: Payload) -> list[Recorded]:
    """Record what came of sending each order."""
    data = _call(client, "record_submission", p_shard=shard, p_token=token, p_results=list(results))
    return [Recorded.model_validate(row) for row in data]


def record_order_updates(client: Client, *, shard: str, token: int, updates: Payload) -> list[Recorded]:
    """Hand over the broker's view of orders; repeats and reordering change nothing more."""
    data = _call(client, "record_order_updates", p_shard=shard, p_token=token, p_updates=list(updates))
    return [Recorded.model_validate(row) for row in data]


def expire_stale_approvals(client: Client, *, shard: str, token: int) -> int:
    """End the approvals that nobody decided in time; return how many."""
    return int(_call(client, "expire_stale_approvals", p_shard=shard, p_token=token))


def engine_lockout(
    client: Client,
    *,
    shard: str,
    token: int,
    ticker: str,
    reason: str,
    duration_minutes: int,
    lockout_type: str,
    side: str | None = None,
    profile_id: UUID | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Lockout:
    """Keep entries out of a symbol for what the system saw; one in force of the same kind is answered as it is."""
    data = _call(
        client,
        "engine_lockout",
        p_shard=shard,
        p_token=token,
        p_ticker=ticker,
        p_reason=reason,
        p_duration_minutes=duration_minutes,
        p_lockout_type=lockout_type,
        p_side=side,
        p_profile_id=profile_id,
        p_detail=dict(detail or {}),
    )
    return Lockout.model_validate(data["lockout"])


def record_marks(client: Client, *, shard: str, token: int, marks: Payload) -> int:
    """Note marks and protection of open positions; return how many were known."""
    return int(_call(client, "record_marks", p_shard=shard, p_token=token, p_marks=list(marks)))


def record_equity(client: Client, *, shard: str, token: int, market_at: datetime, session_date: date) -> int:
    """Note the equity of every profile of the shard; return how many daily rows were kept."""
    return int(
        _call(
            client,
            "record_equity",
            p_shard=shard,
            p_token=token,
            p_market_at=market_at,
            p_session_date=session_date.isoformat(),
        )
    )


def record_bars(client: Client, *, shard: str, token: int, bars: Payload) -> int:
    """Keep fetched bars; return how many were new or changed."""
    return int(_call(client, "record_bars", p_shard=shard, p_token=token, p_bars=list(bars)))


def save_bot_state(client: Client, *, shard: str, token: int, state: Mapping[str, Any]) -> datetime:
    """Keep a snapshot of the engine's state; return when it was saved."""
    return datetime.fromisoformat(
        str(_call(client, "save_bot_state", p_shard=shard, p_token=token, p_state=dict(state)))
    )


def load_bot_state(client: Client, *, shard: str, token: int) -> SavedState | None:
    """Return the shard's newest snapshot, or None when there is none yet."""
    data = _call(client, "load_bot_state", p_shard=shard, p_token=token)
    return SavedState.model_validate(data) if data else None


def reconcile_apply(
    client: Client, *, shard: str, token: int, run: Mapping[str, Any], findings: Payload
) -> dict[str, Any]:
    """Note a reconciliation run and its findings; return the run's id and their number."""
    data = _call(client, "reconcile_apply", p_shard=shard, p_token=token, p_run=dict(run), p_findings=list(findings))
    return dict(data)


def _control(client: Client, function: str, **arguments: Any) -> ControlAnswer:
    return ControlAnswer.model_validate(_call(client, function, **arguments))


def _call(client: Client, function: str, **arguments: Any) -> Any:
    wire = {name: _wire(value) for name, value in arguments.items()}
    with translated():
        return client.rpc(function, wire).execute().data


def _wire(value: Any) -> Any:
    """Return `value` as JSON can carry it: uuids, amounts and times as text, the rest as it is."""
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_wire(item) for item in value]
    return value
