"""Entries that a person has to decide, and what was decided."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.errors import translated
from db.queries._frames import Columns, Request, frame, narrowed
from db.queries.paging import Cursor, Page, all_pages, rows_by_key

APPROVAL_COLUMNS: Columns = {
    "id": "text",
    "order_id": "text",
    "profile_id": "text",
    "profile_name": "text",
    "symbol": "text",
    "side": "text",
    "qty": "number",
    "limit_price": "number",
    "reference_price": "number",
    "notional_usd": "number",
    "trading_mode": "text",
    "reasons": "object",
    "shown_hash": "text",
    "config_version": "number",
    "status": "text",
    "requested_at": "time",
    "expires_at": "time",
    "decided_at": "time",
    "decided_by_email": "text",
    "decision_reason": "text",
    "release_code": "text",
}
STATUSES = ("pending", "approved", "rejected", "expired", "denied", "canceled")
_COLUMNS = ",".join(name for name in APPROVAL_COLUMNS if name != "profile_name")
_SELECTED = f"{_COLUMNS},profile:profiles(name)"
_AMOUNTS = ("qty", "limit_price", "reference_price", "notional_usd")


@dataclass(frozen=True)
class ApprovalFilters:
    """Which approvals are wanted; an empty field wants all."""

    statuses: tuple[str, ...] = ()
    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Queue:
    """The approvals that are the most urgent, and how many there are in all."""

    approvals: pd.DataFrame
    total: int


def waiting_approvals(client: Client, filters: ApprovalFilters, size: int = 20) -> Queue:
    """Return what a person can still decide, what runs out first at the top, by the database's clock.

    Returns
    -------
    Queue; `approvals` has at most `size` rows and columns APPROVAL_COLUMNS, times are the database's;
    empty when nothing waits.
    """
    request = client.table("operator_approvals").select(_SELECTED, count="exact")  # type: ignore[arg-type]
    request = _filtered(request, filters).eq("status", "pending").gt("expires_at", "now")
    with translated():
        answer = request.order("expires_at").order("id").limit(size).execute()
    found: list[dict[str, Any]] = [dict(row) for row in answer.data]  # type: ignore[arg-type]
    return Queue(frame(found, APPROVAL_COLUMNS), answer.count or 0)


def decided_approvals(client: Client, filters: ApprovalFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the approvals that are over, the last asked first.

    Returns
    -------
    Page; `found` has columns APPROVAL_COLUMNS plus `waited_s` float64, seconds from asking to the decision
    (NaN while it is not closed); times are the database's; empty when nothing matches.
    """
    request = _filtered(client.table("operator_approvals").select(_SELECTED), filters)
    request = request.or_("status.neq.pending,expires_at.lte.now")
    found, following = rows_by_key(request, "requested_at", after, size)
    page = frame(found, APPROVAL_COLUMNS)
    return Page(page.assign(waited_s=(page["decided_at"] - page["requested_at"]).dt.total_seconds()), following)


def approvals_for_export(client: Client, filters: ApprovalFilters) -> pd.DataFrame:
    """Return all approvals that are over and match, the last asked first; columns as `decided_approvals`."""
    return all_pages(partial(decided_approvals, client, filters))


def approval_rows(
    client: Client, filters: ApprovalFilters, after: Cursor | None, size: int
) -> tuple[list[dict[str, Any]], Cursor | None]:
    """Return one page of approvals in any state as they are stored, amounts as text, the last asked first."""
    columns = ",".join(f"{name}::text" if name in _AMOUNTS else name for name in _COLUMNS.split(","))
    request = _filtered(client.table("operator_approvals").select(columns), filters)
    return rows_by_key(request, "requested_at", after, size)


def _filtered(request: Request, filters: ApprovalFilters) -> Request:
    wanted = {"status": filters.statuses, "profile_id": filters.profile_ids, "symbol": filters.symbols}
    return narrowed(request, wanted)
