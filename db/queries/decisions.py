"""What was asked of the gate in a period, how each entry ended, and what held at a past moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import pandas as pd
from supabase import Client

from db.queries._frames import PAGE_ROWS, Columns, Request, frame, narrowed, rows
from db.queries._scope import owners_rows
from db.queries.lockouts import LOCKOUT_COLUMNS
from db.queries.paging import Cursor, Page, all_pages, rows_by_key

# How many entries of a period are counted, the newest ones; how many profiles are looked through at once; how far back
# from a past moment.
COUNTED_MAX = 5_000
PROFILES_MAX = 50
LOOK_BACK = timedelta(days=30)

ENTRY_COLUMNS: Columns = {
    "id": "text",
    "profile_id": "text",
    "profile_name": "text",
    "symbol": "text",
    "side": "text",
    "state": "text",
    "code": "text",
    "reason": "text",
    "qty": "number",
    "filled_qty": "number",
    "limit_price": "number",
    "notional_usd": "number",
    "signal_id": "text",
    "market_at": "time",
    "created_at": "time",
}
OUTCOME_COLUMNS: Columns = {
    "state": "text",
    "code": "text",
    "filled_qty": "number",
    "ready_at": "time",
    "submitted_at": "time",
}
BLOCKED_COLUMNS: Columns = {"blocked_by": "text", "symbol": "text"}
MODE_COLUMNS: Columns = {
    "scope": "text",
    "scope_key": "text",
    "to_mode": "text",
    "reason": "text",
    "changed_by_email": "text",
    "changed_at": "time",
}
_SELECTED = ",".join(name for name in ENTRY_COLUMNS if name != "profile_name") + ",profile:profiles(name)"


@dataclass(frozen=True)
class DecisionFilters:
    """Which entries are wanted: recorded within [since, until) by the database's clock; an empty field wants all."""

    since: datetime
    until: datetime
    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcomes:
    """How the entries of a period ended; `is_all`: there are no older ones in it. Columns OUTCOME_COLUMNS."""

    found: pd.DataFrame
    is_all: bool


def entries_page(client: Client, filters: DecisionFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the entries that were put to the gate, the newest first.

    Returns
    -------
    Page; `found` has at most `size` rows and columns ENTRY_COLUMNS; `market_at` is market time, `created_at` the
    database's; empty when nothing matches.
    """
    found, following = rows_by_key(_entries(client, _SELECTED, filters), "created_at", after, size)
    return Page(frame(found, ENTRY_COLUMNS), following)


def entries_for_export(client: Client, filters: DecisionFilters) -> pd.DataFrame:
    """Return all entries that match, the newest first; columns ENTRY_COLUMNS."""
    return all_pages(partial(entries_page, client, filters))


def entry_outcomes(client: Client, filters: DecisionFilters) -> Outcomes:
    """Return how the entries of a period ended, the newest COUNTED_MAX of them."""
    request = _entries(client, ",".join(["id", "created_at", *OUTCOME_COLUMNS]), filters)
    found, after = rows_by_key(request, "created_at", None, PAGE_ROWS - 1)
    while after and len(found) < COUNTED_MAX:
        request = _entries(client, ",".join(["id", "created_at", *OUTCOME_COLUMNS]), filters)
        more, after = rows_by_key(request, "created_at", after, PAGE_ROWS - 1)
        found += more
    return Outcomes(frame(found, OUTCOME_COLUMNS), after is None)


def blocked_in_period(client: Client, profile_ids: Sequence[str], filters: DecisionFilters) -> Outcomes:
    """Return the signals of a period that a layer kept from the gate, 1,000 of them at most.

    Parameters
    ----------
    profile_ids : whose signals; the first PROFILES_MAX are looked through

    Returns
    -------
    Outcomes; `found` has columns BLOCKED_COLUMNS; `is_all` is False when there may be others.
    """
    wanted = list(filters.profile_ids or profile_ids)[:PROFILES_MAX]
    if not wanted:
        return Outcomes(frame([], BLOCKED_COLUMNS), True)
    request = client.table("signals").select(",".join(BLOCKED_COLUMNS)).in_("profile_id", wanted)
    request = _within(request, filters).not_.is_("blocked_by", "null")
    found = rows(narrowed(request, {"symbol": filters.symbols}).limit(PAGE_ROWS))
    is_all = len(found) < PAGE_ROWS and len(filters.profile_ids or profile_ids) <= PROFILES_MAX
    return Outcomes(frame(found, BLOCKED_COLUMNS), is_all)


def entries_before(client: Client, symbol: str, at: datetime, size: int = 10) -> pd.DataFrame:
    """Return the last entries in a symbol that were put to the gate up to a moment, the newest first.

    Returns
    -------
    DataFrame with at most `size` rows, none older than LOOK_BACK before the moment; columns ENTRY_COLUMNS.
    """
    request = client.table("orders").select(_SELECTED).eq("purpose", "entry").eq("symbol", symbol)
    request = request.gte("created_at", (at - LOOK_BACK).isoformat()).lte("created_at", at.isoformat())
    request = owners_rows(request, client)
    return frame(rows(request.order("created_at", desc=True).order("id").limit(size)), ENTRY_COLUMNS)


def modes_at(client: Client, at: datetime) -> pd.DataFrame:
    """Return what each control was set to at a moment, of those that were changed before it.

    Returns
    -------
    DataFrame, one row per scope, the last changed first; columns MODE_COLUMNS, database time; of the last 500
    changes; empty when nothing had been changed.
    """
    request = client.table("trading_control_events").select(",".join(MODE_COLUMNS)).lte("changed_at", at.isoformat())
    found = frame(rows(request.order("changed_at", desc=True).order("id", desc=True).limit(500)), MODE_COLUMNS)
    return found.drop_duplicates(["scope", "scope_key"], ignore_index=True)


def lockouts_at(client: Client, symbol: str, at: datetime) -> pd.DataFrame:
    """Return the lockouts that held in a symbol at a moment, the last begun first; columns LOCKOUT_COLUMNS."""
    columns = ",".join(name for name in LOCKOUT_COLUMNS if name != "profile_name")
    request = client.table("symbol_lockouts").select(f"{columns},profile:profiles(name)").in_("ticker", [symbol, "*"])
    request = request.lte("starts_at", at.isoformat()).gt("expires_at", at.isoformat())
    request = request.or_(f'removed_at.is.null,removed_at.gt."{at.isoformat()}"')
    return frame(rows(request.order("starts_at", desc=True).order("id").limit(100)), LOCKOUT_COLUMNS)


def _entries(client: Client, columns: str, filters: DecisionFilters) -> Request:
    request = _within(client.table("orders").select(columns).eq("purpose", "entry"), filters)
    wanted = {"profile_id": filters.profile_ids, "symbol": filters.symbols, "code": filters.codes}
    # Profiles have an owner already; naming it as well makes the planner combine two indexes and sort.
    return narrowed(request if filters.profile_ids else owners_rows(request, client), wanted)


def _within(request: Request, filters: DecisionFilters) -> Request:
    return request.gte("created_at", filters.since.isoformat()).lt("created_at", filters.until.isoformat())
