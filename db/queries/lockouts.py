"""Symbols that are locked out, and those that were."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, all_rows, frame, narrowed, rows
from db.queries.paging import Cursor, Page, all_pages, rows_by_key

LOCKOUT_COLUMNS: Columns = {
    "id": "text",
    "ticker": "text",
    "side": "text",
    "profile_id": "text",
    "profile_name": "text",
    "lockout_type": "text",
    "reason": "text",
    "starts_at": "time",
    "expires_at": "time",
    "created_by_email": "text",
    "removed_at": "time",
    "removed_by_email": "text",
    "removed_reason": "text",
    "detail": "object",
}
LOCKOUT_TYPES = ("manual", "news_shock", "cooldown", "stoploss_guard", "drawdown", "reconciliation")
LOCKOUT_SPAN_COLUMNS: Columns = {"started_at": "time", "ended_at": "time", "reason": "text"}
_COLUMNS = ",".join(name for name in LOCKOUT_COLUMNS if name != "profile_name")
_IS_OVER = "removed_at.not.is.null,expires_at.lte.now"
_SELECTED = f"{_COLUMNS},profile:profiles(name)"


@dataclass(frozen=True)
class LockoutFilters:
    """Which lockouts are wanted; an empty field wants all."""

    types: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()


def lockouts_in_force(client: Client, filters: LockoutFilters) -> pd.DataFrame:
    """Return the lockouts that hold now by the database's clock, what ends first at the top.

    Returns
    -------
    DataFrame; columns LOCKOUT_COLUMNS, times are the database's; `side` and `profile_id` are missing where
    both directions and every profile are meant; `detail` holds what the system saw, such as a headline with its
    source and score; empty when nothing is locked out.
    """
    request = _in_force(_filtered(client.table("symbol_lockouts").select(_SELECTED), filters))
    return frame(all_rows(request.order("expires_at").order("id")), LOCKOUT_COLUMNS)


def past_lockouts(client: Client, filters: LockoutFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the lockouts that ran out or were removed, the last begun first.

    Returns
    -------
    Page; `found` has columns LOCKOUT_COLUMNS plus `ended_at`, when it ran out or was removed, and `lasted_s`
    float64, seconds; empty when nothing matches.
    """
    request = _filtered(client.table("symbol_lockouts").select(_SELECTED), filters)
    request = request.or_(_IS_OVER)
    found, following = rows_by_key(request, "starts_at", after, size)
    page = frame(found, LOCKOUT_COLUMNS)
    ended = page["removed_at"].fillna(page["expires_at"])
    return Page(page.assign(ended_at=ended, lasted_s=(ended - page["starts_at"]).dt.total_seconds()), following)


def latest_lockouts(client: Client, size: int) -> pd.DataFrame:
    """Return when symbols were locked out: of those in force the `size` last to end, of those that are over the last.

    Returns
    -------
    DataFrame; columns LOCKOUT_SPAN_COLUMNS, times are the database's; `ended_at` is NaT while one goes on, `reason`
    begins with the symbol; empty when nothing was ever locked out.
    """
    held = client.table("symbol_lockouts").select("ticker,reason,started_at:starts_at")
    in_force = rows(_in_force(held).order("expires_at", desc=True).order("id", desc=True).limit(size))
    past = client.table("symbol_lockouts").select("id,ticker,reason,starts_at,expires_at,removed_at").or_(_IS_OVER)
    over = [
        row | {"started_at": row["starts_at"], "ended_at": row["removed_at"] or row["expires_at"]}
        for row in rows_by_key(past, "starts_at", None, size)[0]
    ]
    spans = [row | {"reason": f"{row['ticker']}: {row['reason']}"} for row in (*reversed(in_force), *over)]
    return frame(spans, LOCKOUT_SPAN_COLUMNS)


def lockouts_for_export(client: Client, filters: LockoutFilters) -> pd.DataFrame:
    """Return all past lockouts that match, the last begun first; columns as `past_lockouts`."""
    return all_pages(partial(past_lockouts, client, filters))


def lockout_rows(
    client: Client, filters: LockoutFilters, after: Cursor | None, size: int, *, in_force: bool
) -> tuple[list[dict[str, Any]], Cursor | None]:
    """Return one page of lockouts as they are stored, the last begun first; all, or only those in force."""
    request = _filtered(client.table("symbol_lockouts").select(_COLUMNS), filters)
    return rows_by_key(_in_force(request) if in_force else request, "starts_at", after, size)


def _in_force(request: Request) -> Request:
    return request.is_("removed_at", "null").gt("expires_at", "now")


def _filtered(request: Request, filters: LockoutFilters) -> Request:
    return narrowed(request, {"lockout_type": filters.types, "ticker": filters.tickers})
