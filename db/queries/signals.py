"""Signals: what the strategies wanted, and what each layer said of it."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pandas as pd
from supabase import Client

from db.queries._frames import PAGE_ROWS, Columns, Request, frame, rows
from db.queries.paging import Cursor, Page, all_pages, rows_by_key

SIGNAL_COLUMNS: Columns = {
    "id": "text",
    "symbol": "text",
    "side": "text",
    "strategy": "text",
    "strength": "number",
    "bar_at": "time",
    "market_at": "time",
    "created_at": "time",
    "blocked_by": "text",
    "detail": "object",
}
DECIDED_COLUMNS: Columns = {"signal_id": "text", "id": "text", "state": "text", "code": "text"}
LAYERS = ("macro", "competitive")


@dataclass(frozen=True)
class SignalFilters:
    """Which signals of one profile are wanted: recorded within [since, until) by the database's clock.

    `symbol` None: all; `blocked` None: both those that a layer kept back and those that reached the gate.
    """

    profile_id: str
    since: datetime
    until: datetime
    symbol: str | None = None
    blocked: bool | None = None


def signals_page(client: Client, filters: SignalFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of a profile's signals, the newest first.

    Returns
    -------
    Page; `found` has at most `size` rows and columns SIGNAL_COLUMNS; `bar_at` and `market_at` are market times,
    `blocked_by` is missing where the gate judged it; empty when nothing matches.
    """
    found, following = rows_by_key(_filtered(client, filters), "created_at", after, size)
    return Page(frame(found, SIGNAL_COLUMNS), following)


def signals_for_export(client: Client, filters: SignalFilters) -> pd.DataFrame:
    """Return all signals of a profile that match, the newest first; columns SIGNAL_COLUMNS."""
    return all_pages(partial(signals_page, client, filters))


def entries_of_signals(client: Client, profile_id: str, signals: pd.DataFrame) -> pd.DataFrame:
    """Return the entries that a page of one profile's signals led to.

    Parameters
    ----------
    signals : columns SIGNAL_COLUMNS, at least one row; a signal and its entry are recorded in one moment

    Returns
    -------
    DataFrame; columns DECIDED_COLUMNS, one row an entry; signals that no gate judged have none.
    """
    recorded = signals["created_at"]
    request = (
        client.table("orders").select(",".join(DECIDED_COLUMNS)).eq("profile_id", profile_id).eq("purpose", "entry")
    )
    request = request.gte("created_at", recorded.min().isoformat()).lte("created_at", recorded.max().isoformat())
    found = frame(rows(request.order("created_at", desc=True).order("id").limit(PAGE_ROWS)), DECIDED_COLUMNS)
    return found[found["signal_id"].isin(signals["id"])].reset_index(drop=True)


def layer_switches(client: Client) -> dict[str, bool]:
    """Return which layers the active configuration has switched on, by name."""
    found = rows(client.table("risk_configs").select("layers:config->signal_layers").eq("active", True))
    layers = (found[0]["layers"] or {}) if found else {}
    return {name: bool(layers.get(name)) for name in LAYERS}


def _filtered(client: Client, filters: SignalFilters) -> Request:
    request = client.table("signals").select(",".join(SIGNAL_COLUMNS)).eq("profile_id", filters.profile_id)
    request = request.gte("created_at", filters.since.isoformat()).lt("created_at", filters.until.isoformat())
    if filters.symbol:
        request = request.eq("symbol", filters.symbol)
    if filters.blocked is not None:
        request = request.not_.is_("blocked_by", "null") if filters.blocked else request.is_("blocked_by", "null")
    return request
