"""The audit log: who did what, when, why, and what was refused."""

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, frame, narrowed, rows
from db.queries._scope import own_user
from db.queries.paging import Cursor, Page, all_pages, day_in_zone, rows_by_key

AUDIT_COLUMNS: Columns = {
    "id": "text",
    "at": "time",
    "actor_email": "text",
    "actor_role": "text",
    "action": "text",
    "target": "text",
    "outcome": "text",
    "reason": "text",
    "detail": "object",
}
ACTIONS = (
    "acknowledge_alert", "adopt_order", "cancel_schedule", "close_position", "create_lockout", "decide_approval",
    "evaluate_alerts", "grant_override", "halt_trading", "mute_alert", "pause_trading", "profile_switched_off",
    "record_split", "remove_lockout", "resume_trading", "revert_risk_config", "revoke_override",
    "schedule_trading_mode", "set_external_order_policy", "set_member_role", "set_profile_active", "test_alert",
    "unmute_alert", "update_approval_config", "update_risk_config", "verify_audit_chain",
)  # fmt: skip
OUTCOMES = ("done", "refused")
ENGINE = "engine"  # as actor: the engines, which are no members


@dataclass(frozen=True)
class AuditFilters:
    """Which acts are wanted; an empty field wants all.

    `actor` is a member's id or ENGINE; `since` and `until` are days in `zone`, both included.
    """

    actor: str | None = None
    actions: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    zone: str = "UTC"


def audit_page(client: Client, filters: AuditFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the log, the newest first. Operators and admins; others find their own acts.

    Returns
    -------
    Page; `found` has columns AUDIT_COLUMNS, times are the database's; empty when nothing matches.
    """
    found, following = rows_by_key(_filtered(client, filters), "at", after, size)
    return Page(frame(found, AUDIT_COLUMNS), following)


def audit_for_export(client: Client, filters: AuditFilters) -> pd.DataFrame:
    """Return all acts that match, the newest first; columns as `audit_page`."""
    return all_pages(partial(audit_page, client, filters))


def audit_entry(client: Client, entry_id: str) -> dict[str, Any] | None:
    """Return one row of the log as it is stored, with its hashes; None when it is not there for the caller."""
    columns = ",".join([*AUDIT_COLUMNS, "tenant", "prev_hash", "hash"])
    found = rows(client.table("audit_log").select(columns).eq("id", entry_id)) if entry_id.isdecimal() else []
    return found[0] if found else None


def _filtered(client: Client, filters: AuditFilters) -> Request:
    request = client.table("audit_log").select(",".join(AUDIT_COLUMNS))
    request = narrowed(request, {"action": filters.actions, "outcome": filters.outcomes})
    if filters.actor == ENGINE:
        request = request.is_("actor", "null")
    elif filters.actor:
        request = request.eq("actor", filters.actor)
    if own := own_user(client):
        request = request.eq("actor", str(own))
    if filters.since:
        request = request.gte("at", day_in_zone(filters.since, filters.zone)[0].isoformat())
    if filters.until:
        request = request.lt("at", day_in_zone(filters.until, filters.zone)[1].isoformat())
    return request
