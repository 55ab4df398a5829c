"""Closed trades, and what happened within one."""

from dataclasses import dataclass
from datetime import date
from functools import partial

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, frame, narrowed, rows
from db.queries._scope import owners_rows
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
