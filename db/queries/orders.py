"""Orders, their events, and the gate's decisions about them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, all_rows, frame, narrowed, rows
from db.queries._scope import owners_rows
from db.queries.paging import Cursor, Page, all_pages, rows_by_key

ORDER_COLUMNS: Columns = {
    "id": "text",
    "profile_id": "text",
    "profile_name": "text",
    "symbol": "text",
    "side": "text",
    "position_side": "text",
    "purpose": "text",
    "state": "text",
    "code": "text",
    "reason": "text",
    "exit_reason": "text",
    "qty": "number",
    "filled_qty": "number",
    "order_type": "text",
    "time_in_force": "text",
    "limit_price": "number",
    "stop_price": "number",
    "filled_avg_price": "number",
    "notional_usd": "number",
    "trade_id": "text",
    "parent_id": "text",
    "broker_order_id": "text",
    "broker_status": "text",
    "market_at": "time",
    "broker_updated_at": "time",
    "created_at": "time",
    "submitted_at": "time",
    "accepted_at": "time",
    "ended_at": "time",
}
EVENT_COLUMNS: Columns = {
    "id": "number",
    "from_state": "text",
    "to_state": "text",
    "broker_status": "text",
    "reason": "text",
    "at": "time",
}
CHECK_COLUMNS: Columns = {"name": "text", "limit": "text", "observed": "text", "passed": "flag"}

_SELECTED = ",".join(name for name in ORDER_COLUMNS if name != "profile_name") + ",profile:profiles(name)"


@dataclass(frozen=True)
class OrderFilters:
    """Which orders are wanted; an empty field wants all."""

    states: tuple[str, ...] = ()
    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What the gate judged about one order. `checks`: columns CHECK_COLUMNS, in order of judgement."""

    checks: pd.DataFrame
    inputs: dict[str, Any]
    config_version: int
    market_at: pd.Timestamp | None
    created_at: pd.Timestamp


def orders_page(client: Client, filters: OrderFilters, after: Cursor | None = None, size: int = 100) -> Page:
    """Return one page of orders, the newest first.

    Returns
    -------
    Page; `found` has at most `size` rows and columns ORDER_COLUMNS; `market_at` and `broker_updated_at` are
    market times, the other times the database's; empty when nothing matches.
    """
    found, following = rows_by_key(_filtered(client, filters), "created_at", after, size)
    return Page(frame(found, ORDER_COLUMNS), following)


def orders_for_export(client: Client, filters: OrderFilters) -> pd.DataFrame:
    """Return all orders that match, the newest first; columns ORDER_COLUMNS."""
    return all_pages(partial(orders_page, client, filters))


def order_by_id(client: Client, order_id: str) -> pd.DataFrame:
    """Return one order, or an empty frame when it is not there for the caller; columns ORDER_COLUMNS."""
    return frame(rows(client.table("orders").select(_SELECTED).eq("id", order_id)), ORDER_COLUMNS)


def order_events(client: Client, order_id: str) -> pd.DataFrame:
    """Return what happened to one order, in order; columns EVENT_COLUMNS, `at` is database time."""
    request = client.table("order_events").select(",".join(EVENT_COLUMNS)).eq("order_id", order_id).order("id")
    return frame(all_rows(request), EVENT_COLUMNS)


def decision(client: Client, order_id: str) -> Decision | None:
    """Return the gate's latest decision about an order; None for orders that the gate does not judge."""
    request = client.table("decision_log").select("*").eq("order_id", order_id).order("id", desc=True).limit(1)
    found = rows(request)
    if not found:
        return None
    row = found[0]
    checks = [{**check, "limit": _as_text(check.get("limit")), "observed": _as_text(check.get("observed"))}
              for check in row["checks"]]  # fmt: skip
    return Decision(
        checks=frame(checks, CHECK_COLUMNS),
        inputs=row["inputs"],
        config_version=row["config_version"],
        market_at=pd.Timestamp(row["market_at"]) if row["market_at"] else None,
        created_at=pd.Timestamp(row["created_at"]),
    )


def latest_denials(client: Client, limit: int = 8) -> pd.DataFrame:
    """Return the entries that the gate refused last, the newest first; columns ORDER_COLUMNS."""
    return orders_page(client, OrderFilters(states=("denied",)), size=limit).found


def _filtered(client: Client, filters: OrderFilters) -> Request:
    request = client.table("orders").select(_SELECTED)
    wanted = {"state": filters.states, "profile_id": filters.profile_ids, "symbol": filters.symbols,
              "purpose": filters.purposes}  # fmt: skip
    # Profiles have an owner already; naming it as well makes the planner combine two indexes and sort.
    return narrowed(request if filters.profile_ids else owners_rows(request, client), wanted)


def _as_text(value: object) -> str:
    """Return a limit or an observed value as people write it; one that is not set says so."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return str(value)
