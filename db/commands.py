"""One typed function per function of the authority. Each is one transaction there.

Amounts go out as strings, so that no float ever touches them. Every function raises
`db.errors.AuthorityError` or one of its kinds.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from supabase import Client

from db.errors import translated
from db.models import (
    Answer,
    AuditProof,
    ControlAnswer,
    EngineSnapshot,
    Lease,
    Order,
    Recorded,
    SavedState,
    Scope,
    TradingStatus,
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
) -> ControlAnswer:
    """Let entries flow again in a scope. Admins only."""
    return _control(
        client,
        "resume_trading",
        p_reason=reason,
        p_request_id=request_id,
        p_scope=scope,
        p_scope_key=scope_key,
        p_reason_code=reason_code,
        p_expected_version=expected_version,
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


def record_bars(client: Client, *, bars: Payload) -> int:
    """Keep fetched bars; return how many were new or changed."""
    return int(_call(client, "record_bars", p_bars=list(bars)))


def save_bot_state(client: Client, *, shard: str, token: int, state: Mapping[str, Any]) -> datetime:
    """Keep a snapshot of the engine's state; return when it was saved."""
    return datetime.fromisoformat(
        str(_call(client, "save_bot_state", p_shard=shard, p_token=token, p_state=dict(state)))
    )


def load_bot_state(client: Client, *, shard: str) -> SavedState | None:
    """Return the shard's newest snapshot, or None when there is none yet."""
    data = _call(client, "load_bot_state", p_shard=shard)
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
    """Return `value` as JSON can carry it: uuids and times as text, the rest as it is."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value
