"""Closed trades, and what happened within one."""

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, frame, narrowed, rows
from db.queries._scope import own_user, owners_rows
from db.queries.paging import Cursor, Page, all_pages, day_in_zone, rows_by_key

TRADE_COLUMNS: Columns = {
    "id": "text",
    "profile_id": "text",
    "profile_name": "text",
    "strategy": "text",
    "symbol": "text",
    "position_side": "text",
    "qty_entered": "number",
    "entry_price": "number",
    "exit_price": "number",
    "entry_notional_usd": "number",
    "realized_pnl_usd": "number",
    "return_pct": "number",
    "exit_reason": "text",
    "opened_at": "time",
    "closed_at": "time",
}
FILL_COLUMNS: Columns = {
    "id": "number",
    "purpose": "text",
    "side": "text",
    "qty": "number",
    "price": "number",
    "executed_at": "time",
    "recorded_at": "time",
}

PRICED_FILL_COLUMNS: Columns = {
    "purpose": "text",
    "symbol": "text",
    "side": "text",
    "qty": "number",
    "price": "number",
    "executed_at": "time",
    "reference_price": "number",
    "stop_price": "number",
    "limit_price": "number",
}
_MEANT = ("reference_price", "stop_price", "limit_price")

# Small enough that an index is walked: asked for more at a time, Postgres reads and sorts all that match for each page.
PAGE_ROWS = 250


EXCHANGE_ZONE = "America/New_York"


@dataclass(frozen=True)
class TradeFilters:
    """Which trades are wanted; an empty field wants all."""

    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    exit_reasons: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    closed_on: date | None = None  # a day on New York's calendar, market time


def trades_page(client: Client, filters: TradeFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of the closed trades that match, the last closed first.

    Returns
    -------
    Page; `found` has columns TRADE_COLUMNS; prices and amounts in USD, `return_pct` a fraction of the entry
    notional (0.02: 2 %), times are market times; empty when nothing matches.
    """
    request = client.table("trade_history").select(",".join(TRADE_COLUMNS))
    wanted = {"profile_id": filters.profile_ids, "symbol": filters.symbols, "exit_reason": filters.exit_reasons,
              "position_side": filters.sides}  # fmt: skip
    if filters.closed_on:
        start, end = day_in_zone(filters.closed_on, EXCHANGE_ZONE)
        request = request.gte("closed_at", start.isoformat()).lt("closed_at", end.isoformat())
    # Profiles have an owner already; naming it as well makes the planner combine two indexes and sort.
    request = narrowed(request if filters.profile_ids else owners_rows(request, client), wanted)
    found, following = rows_by_key(request, "closed_at", after, size)
    return Page(frame(found, TRADE_COLUMNS), following)


def closed_trades(client: Client, filters: TradeFilters) -> pd.DataFrame:
    """Return all closed trades that match, the last closed first; columns TRADE_COLUMNS. For notebooks."""
    return all_pages(partial(trades_page, client, filters), rows_max=None, size=PAGE_ROWS)


def trades_for_export(client: Client, filters: TradeFilters) -> pd.DataFrame:
    """Return the closed trades that match, about EXPORT_ROWS_MAX at most, the last closed first; TRADE_COLUMNS."""
    return all_pages(partial(trades_page, client, filters), size=PAGE_ROWS)


def trade_by_id(client: Client, trade_id: str) -> pd.DataFrame:
    """Return one closed trade, or an empty frame when it is not there for the caller; columns TRADE_COLUMNS."""
    return frame(rows(client.table("trade_history").select(",".join(TRADE_COLUMNS)).eq("id", trade_id)), TRADE_COLUMNS)


def trade_fills(client: Client, trade_id: str) -> pd.DataFrame:
    """Return the fills of one trade, in order; columns FILL_COLUMNS, `executed_at` is market time."""
    request: Request = client.table("fills").select(",".join(FILL_COLUMNS)).eq("trade_id", trade_id).order("id")
    return frame(rows(request), FILL_COLUMNS)


def planned_exits(client: Client, trade_id: str) -> tuple[float | None, float | None]:
    """Return the stop and the target that a trade's entry was sent with, in USD; None where there is none."""
    request = client.table("orders").select("stop_loss_price,take_profit_price").eq("id", trade_id)
    found = rows(request)
    if not found:
        return None, None
    return found[0]["stop_loss_price"], found[0]["take_profit_price"]


def priced_fills(client: Client, profile_ids: tuple[str, ...], since: date, size: int = 300) -> pd.DataFrame:
    """Return the newest fills with the prices that their orders were meant at, of some profiles or of all.

    Parameters
    ----------
    since : the first day on New York's calendar, market time; older ones among the newest are left out

    Returns
    -------
    DataFrame with about `size` rows at most; columns PRICED_FILL_COLUMNS, prices in USD, `executed_at` market time;
    empty when nothing was filled.
    """
    columns = [name for name in PRICED_FILL_COLUMNS if name not in _MEANT]
    request = partial(client.table("fills").select, f"{','.join(columns)},orders({','.join(_MEANT)})")
    start = day_in_zone(since, EXCHANGE_ZONE)[0]
    if profile_ids:
        each = [request().eq("profile_id", id_).gte("executed_at", start.isoformat()) for id_ in profile_ids]
        found = [row for one in each for row in _newest(one, "executed_at", max(size // len(each), 1))]
    elif own_user(client):
        mine = owners_rows(request(), client).gte("executed_at", start.isoformat())
        found = _newest(mine, "executed_at", size)
    else:
        found = _newest(request(), "id", size)  # all tenants' by market time is what no index answers
    fills = frame([row | (row["orders"] or {}) for row in found], PRICED_FILL_COLUMNS)
    return fills[fills["executed_at"] >= start].reset_index(drop=True)


def _newest(request: Request, column: str, size: int) -> list[dict[str, Any]]:
    return rows(request.order(column, desc=True).limit(size))
