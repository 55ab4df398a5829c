"""Modes of trading: pause, resume, halt, and what is planned."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from supabase import Client

from db.commands._call import call
from db.models import ControlAnswer, Preflight, Schedule, Scope, TradingStatus


def trading_status(client: Client) -> TradingStatus:
    """Return what the authority says about trading right now. Any member; the engine."""
    return TradingStatus.model_validate(call(client, "trading_status"))


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
    return Preflight.model_validate(call(client, "preflight_resume", p_scope=scope, p_scope_key=scope_key))


def schedule_trading_mode(client: Client, *, mode: str, kind: str, reason: str, **plan: Any) -> Schedule:
    """Plan a change of mode; `plan` holds the other arguments of the function without their `p_`. Admins only.

    Windows: `kind` once (starts_at, ends_at), weekly (weekdays 1 to 7, start_time, end_time) or dates (dates,
    days_before, days_after), in `time_zone`; `inverted` pauses outside them. Condition: `condition` and
    `resume_condition` are {"metric", "above" | "below", "for_s"}.
    """
    arguments = {f"p_{name}": value for name, value in plan.items()}
    data = call(client, "schedule_trading_mode", p_mode=mode, p_kind=kind, p_reason=reason, **arguments)
    return Schedule.model_validate(data["schedule"])


def cancel_schedule(client: Client, *, schedule_id: UUID, reason: str, request_id: UUID | None = None) -> str:
    """Withdraw a schedule and return what becomes of a pause that it has set. Admins only."""
    data = call(client, "cancel_schedule", p_schedule_id=schedule_id, p_reason=reason, p_request_id=request_id)
    return str(data["message"])


def _control(client: Client, function: str, **arguments: Any) -> ControlAnswer:
    return ControlAnswer.model_validate(call(client, function, **arguments))
