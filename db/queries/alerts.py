"""Alerts, open and past, the mutes that hold their notices back, and what became of the notices."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, all_rows, frame, narrowed, rows
from db.queries._scope import owners_rows
from db.queries.paging import Cursor, Page, all_pages, rows_by_key

ALERT_COLUMNS: Columns = {
    "id": "text",
    "rule": "text",
    "subject": "text",
    "severity": "text",
    "owner_id": "text",
    "profile_id": "text",
    "symbol": "text",
    "message": "text",
    "detail": "object",
    "opened_at": "time",
    "notified_at": "time",
    "acknowledged_at": "time",
    "acknowledged_by_email": "text",
    "acknowledged_note": "text",
    "resolved_at": "time",
}
MUTE_COLUMNS: Columns = {
    "id": "text",
    "rule": "text",
    "subject": "text",
    "reason": "text",
    "starts_at": "time",
    "expires_at": "time",
    "created_by_email": "text",
    "removed_at": "time",
    "removed_by_email": "text",
    "removed_reason": "text",
}
NOTICE_COLUMNS: Columns = {
    "id": "text",
    "alert_id": "text",
    "event": "text",
    "severity": "text",
    "title": "text",
    "status": "text",
    "attempts": "number",
    "last_error": "text",
    "created_at": "time",
    "due_at": "time",
    "ended_at": "time",
}
RULES = (
    "APPROVAL_EXPIRING", "AUDIT_CHAIN_BROKEN", "BRAKE_ON", "BROKER_BLOCKED", "CONTROL_FLAPPING", "DAILY_LOSS_NEAR",
    "ENGINE_DEAD", "ENGINE_FAULT", "ENTRY_AFTER_PAUSE", "JOB_LATE", "LIVE_WITHOUT_NOTIFIER", "NOTICE_UNDELIVERED",
    "ORDER_UNKNOWN", "PAUSED_LONG", "PAUSED_VOLATILE", "POSITION_UNPROTECTED", "RECONCILIATION_BREAK",
)  # fmt: skip
SEVERITIES = ("critical", "warning")
ROWS_MAX = 500


@dataclass(frozen=True)
class AlertFilters:
    """Which alerts are wanted; an empty field wants all."""

    rules: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()


def open_alerts(client: Client, filters: AlertFilters) -> pd.DataFrame:
    """Return the alerts whose cause lasts, the critical ones first, in each the latest first.

    Returns
    -------
    DataFrame; columns ALERT_COLUMNS, times are the database's; `notified_at` is missing while no notice went out
    because it is muted; empty when nothing is wrong.
    """
    found = frame(open_alert_rows(client, filters), ALERT_COLUMNS)
    return found.sort_values("severity", kind="stable", ignore_index=True)


def past_alerts(client: Client, filters: AlertFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the alerts whose cause is gone, the last opened first.

    Returns
    -------
    Page; `found` has columns ALERT_COLUMNS plus `lasted_s` float64, seconds; empty when nothing matches.
    """
    request = _filtered(client, filters).not_.is_("resolved_at", "null")
    found, following = rows_by_key(request, "opened_at", after, size)
    page = frame(found, ALERT_COLUMNS)
    return Page(page.assign(lasted_s=(page["resolved_at"] - page["opened_at"]).dt.total_seconds()), following)


def alerts_for_export(client: Client, filters: AlertFilters) -> pd.DataFrame:
    """Return all past alerts that match, the last opened first; columns as `past_alerts`."""
    return all_pages(partial(past_alerts, client, filters))


def open_alert_rows(client: Client, filters: AlertFilters = AlertFilters()) -> list[dict[str, Any]]:
    """Return the open alerts as they are stored, for programs, the latest first; at most ROWS_MAX."""
    request = _filtered(client, filters).is_("resolved_at", "null")
    return rows(request.order("opened_at", desc=True).order("id").limit(ROWS_MAX))


def mutes_in_force(client: Client) -> pd.DataFrame:
    """Return the mutes that hold now by the database's clock, what ends first at the top. Staff; others see none.

    Returns
    -------
    DataFrame; columns MUTE_COLUMNS, times are the database's; "*" in `rule` or `subject` stands for every one.
    """
    return frame(mute_rows(client), MUTE_COLUMNS)


def mute_rows(client: Client) -> list[dict[str, Any]]:
    """Return the mutes that hold now as they are stored, for programs, what ends first at the top."""
    request = client.table("alert_mutes").select(",".join(MUTE_COLUMNS)).is_("removed_at", "null")
    return all_rows(request.gt("expires_at", "now").order("expires_at").order("id"))


def notices(client: Client, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the notices in the outbox with what became of each, the latest first. Staff; others see none.

    Returns
    -------
    Page; `found` has columns NOTICE_COLUMNS, times are the database's; `alert_id` is missing for a test.
    """
    request = client.table("notifications").select(",".join(NOTICE_COLUMNS))
    found, following = rows_by_key(request, "created_at", after, size)
    return Page(frame(found, NOTICE_COLUMNS), following)


def _filtered(client: Client, filters: AlertFilters) -> Request:
    wanted = {"rule": filters.rules, "severity": filters.severities, "symbol": filters.symbols}
    return narrowed(owners_rows(client.table("alerts").select(",".join(ALERT_COLUMNS)), client), wanted)
