"""What people decide about entries: lockouts, approvals, overrides, profiles; and why the gate says what it says."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal
from uuid import UUID

from supabase import Client

from db.commands._call import call
from db.models import ApprovalChecks, Decision, Lockout, Override, PositionExit, Why


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
    data = call(
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
    data = call(client, "remove_lockout", p_lockout_id=lockout_id, p_reason=reason, p_request_id=request_id)
    return Lockout.model_validate(data["lockout"])


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
    data = call(
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
    data = call(
        client,
        "decide_approvals",
        p_approval_ids=[str(id) for id in approval_ids],
        p_decision=decision,
        p_reason=reason,
        p_request_id=request_id,
    )
    return [Decision.model_validate(row) for row in data["decisions"]]


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
    data = call(
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
    data = call(client, "revoke_override", p_override_id=override_id, p_reason=reason, p_request_id=request_id)
    return Override.model_validate(data["override"])


def set_profile_active(
    client: Client, *, profile_id: UUID, active: bool, reason: str, request_id: UUID | None = None
) -> bool:
    """Switch a profile on or off; return whether that changed anything. Admins only."""
    data = call(
        client,
        "set_profile_active",
        p_profile_id=profile_id,
        p_active=active,
        p_reason=reason,
        p_request_id=request_id,
    )
    return bool(data["changed"])


def close_position(client: Client, *, trade_id: UUID, reason: str, request_id: UUID | None = None) -> PositionExit:
    """Ask for an open position to be closed at market; no pause holds it up, a halt does. Operators and admins.

    Raises
    ------
    NotFound when nothing is left to close; Conflict when an exit is under way already, or trading is halted
    """
    data = call(client, "close_position", p_trade_id=trade_id, p_reason=reason, p_request_id=request_id)
    return PositionExit.model_validate(data)


def approval_checks(client: Client, *, approval_id: UUID) -> ApprovalChecks:
    """Return what the gate would say now of an entry that waits for a person. Operators and admins."""
    return ApprovalChecks.model_validate(call(client, "approval_checks", p_approval_id=approval_id))


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
    data = call(client, "why", p_symbol=symbol, p_profile_id=profile_id, p_side=side, p_qty=qty, p_price=price)
    return [Why.model_validate(row) for row in data]
