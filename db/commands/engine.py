"""What an engine asks and reports; each call but the first carries its fencing token."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from supabase import Client

from db.commands._call import Payload, call, call_text
from db.models import (
    Answer,
    EngineSnapshot,
    Lease,
    Lockout,
    Order,
    ProtectionFacts,
    Recorded,
    SavedState,
    SchemaVersion,
    TradingStatus,
)


def acquire_lease(client: Client, *, shard: str, holder: str, ttl_s: int) -> Lease:
    """Ask for a shard's lease; `acquired` is false while another holder's runs."""
    return Lease.model_validate(call(client, "acquire_lease", p_shard=shard, p_holder=holder, p_ttl_s=ttl_s))


def release_lease(client: Client, *, shard: str, token: int) -> bool:
    """Give the lease back, so that the next engine need not wait. False when it was not ours."""
    return bool(call(client, "release_lease", p_shard=shard, p_token=token))


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
    data = call(
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
    """Return profiles, open trades, open orders and the risk configuration of a shard."""
    told = call_text(client, "engine_snapshot", p_shard=shard, p_token=token, p_brief=True)
    return EngineSnapshot.model_validate_json(told)


def request_entries(client: Client, *, shard: str, token: int, requests: Payload, permits: int = 0) -> list[Answer]:
    """Put entries to the gate; answers come in the order of the requests, up to `permits` of them with a permit."""
    data = call(client, "request_entries", p_shard=shard, p_token=token, p_requests=list(requests), p_permits=permits)
    return [Answer.model_validate(row) for row in data]


def request_exits(client: Client, *, shard: str, token: int, requests: Payload) -> list[Answer]:
    """Ask for exits of open trades; never gated by a pause."""
    data = call(client, "request_exits", p_shard=shard, p_token=token, p_requests=list(requests))
    return [Answer.model_validate(row) for row in data]


def request_cancels(client: Client, *, shard: str, token: int, requests: Payload) -> int:
    """Have orders of open trades cancelled at the broker by id, each with its reason; return how many it concerns."""
    return int(call(client, "request_cancels", p_shard=shard, p_token=token, p_requests=list(requests)))


def claim_orders(client: Client, *, shard: str, token: int, limit: int = 50, purpose: str | None = None) -> list[Order]:
    """Take permits for orders that are ready, exits first."""
    data = call(client, "claim_orders", p_shard=shard, p_token=token, p_limit=limit, p_purpose=purpose)
    return [Order.model_validate(row) for row in data]


def record_submission(client: Client, *, shard: str, token: int, results: Payload) -> list[Recorded]:
    """Record what came of sending each order."""
    data = call(client, "record_submission", p_shard=shard, p_token=token, p_results=list(results))
    return [Recorded.model_validate(row) for row in data]


def record_order_updates(client: Client, *, shard: str, token: int, updates: Payload) -> list[Recorded]:
    """Hand over the broker's view of orders; repeats and reordering change nothing more."""
    data = call(client, "record_order_updates", p_shard=shard, p_token=token, p_updates=list(updates))
    return [Recorded.model_validate(row) for row in data]


def record_offline_exits(client: Client, *, shard: str, token: int, exits: Payload) -> list[Recorded]:
    """Tell of exits that were sent while the database could not be reached; told again, nothing changes."""
    data = call(client, "record_offline_exits", p_shard=shard, p_token=token, p_exits=list(exits))
    return [Recorded.model_validate(row) for row in data]


def schema_version(client: Client) -> SchemaVersion:
    """Return what the database's schema is called and which engines it serves."""
    return SchemaVersion.model_validate(call(client, "schema_version"))


def expire_stale_approvals(client: Client, *, shard: str, token: int) -> int:
    """End the approvals that nobody decided in time; return how many."""
    return int(call(client, "expire_stale_approvals", p_shard=shard, p_token=token))


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
    data = call(
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


def protection_facts(client: Client, *, shard: str, token: int, since: datetime) -> ProtectionFacts:
    """Return the trades that were closed after a market time, oldest first, and the open breaks."""
    return ProtectionFacts.model_validate(call(client, "protection_facts", p_shard=shard, p_token=token, p_since=since))


def record_marks(client: Client, *, shard: str, token: int, marks: Payload) -> int:
    """Note marks and protection of open positions; return how many were known."""
    return int(call(client, "record_marks", p_shard=shard, p_token=token, p_marks=list(marks)))


def record_equity(client: Client, *, shard: str, token: int, market_at: datetime, session_date: date) -> int:
    """Note the equity of every profile of the shard; return how many daily rows were kept."""
    return int(
        call(
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
    return int(call(client, "record_bars", p_shard=shard, p_token=token, p_bars=list(bars)))


def prune_history(client: Client, *, shard: str, token: int) -> dict[str, int]:
    """Remove what is older than the configuration keeps it, a part at a time; return how many rows of each went."""
    return dict(call(client, "prune_history", p_shard=shard, p_token=token))


def save_bot_state(client: Client, *, shard: str, token: int, state: Mapping[str, Any]) -> datetime:
    """Keep a snapshot of the engine's state; return when it was saved."""
    return datetime.fromisoformat(
        str(call(client, "save_bot_state", p_shard=shard, p_token=token, p_state=dict(state)))
    )


def load_bot_state(client: Client, *, shard: str, token: int) -> SavedState | None:
    """Return the shard's newest snapshot, or None when there is none yet."""
    data = call(client, "load_bot_state", p_shard=shard, p_token=token)
    return SavedState.model_validate(data) if data else None


def reconcile_apply(
    client: Client, *, shard: str, token: int, run: Mapping[str, Any], findings: Payload
) -> dict[str, Any]:
    """Note a reconciliation run and its findings; return the run's id and their number."""
    data = call(client, "reconcile_apply", p_shard=shard, p_token=token, p_run=dict(run), p_findings=list(findings))
    return dict(data)
