"""Orders, their events, and the gate's decisions about them."""

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, Request, all_rows, frame, narrowed, rows
from db.queries._scope import owners_rows
from db.queries.paging import Cursor, Page, all_pages, day_in_zone, rows_by_key

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
    "ready_at": "time",
    "signal_id": "text",
    "cancel_requested_at": "time",
    "reference_price": "number",
}
EVENT_COLUMNS: Columns = {
    "id": "number",
    "from_state": "text",
    "to_state": "text",
    "broker_status": "text",
    "reason": "text",
    "at": "time",
}
MOMENT_COLUMNS: Columns = {
    "signal_at": "time",
    "asked_at": "time",
    "decided_at": "time",
    "decided_by_email": "text",
    "first_fill_at": "time",
    "last_fill_at": "time",
}
OPEN_ORDER_COLUMNS: Columns = {
    "id": "text",
    "profile_id": "text",
    "symbol": "text",
    "purpose": "text",
    "state": "text",
    "cancel_requested_at": "time",
}
DENIAL_COLUMNS: Columns = {
    name: ORDER_COLUMNS[name]
    for name in ("id", "profile_name", "symbol", "side", "code", "reason", "market_at", "created_at")
}
CHECK_COLUMNS: Columns = {"name": "text", "limit": "text", "observed": "text", "passed": "flag"}

OPEN_STATES = ("awaiting_approval", "ready", "submitting", "unknown", "working", "partially_filled")

_SELECTED = ",".join(name for name in ORDER_COLUMNS if name != "profile_name") + ",profile:profiles(name)"


@dataclass(frozen=True)
class OrderFilters:
    """Which orders are wanted; an empty field wants all."""

    states: tuple[str, ...] = ()
    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    recorded_on: date | None = None  # a day in `zone`, by the database's clock
    zone: str = "UTC"


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


def orders_of_trade(client: Client, trade_id: str) -> pd.DataFrame:
    """Return a trade's entry and its exits, in order; columns ORDER_COLUMNS."""
    later = client.table("orders").select(_SELECTED).eq("trade_id", trade_id).neq("purpose", "entry")
    found = rows(client.table("orders").select(_SELECTED).eq("id", trade_id)) + all_rows(
        later.order("created_at").order("id")
    )
    return frame(found, ORDER_COLUMNS)


def order_moments(client: Client, order: pd.Series) -> pd.Series:
    """Return when the stages of one order were recorded that the order itself does not know; database times.

    Parameters
    ----------
    order : a row of `orders_page`

    Returns
    -------
    Series with MOMENT_COLUMNS; NaT (or missing) for a stage that did not happen.
    """
    signal = (
        rows(client.table("signals").select("created_at").eq("id", order["signal_id"]))
        if isinstance(order["signal_id"], str)
        else []
    )
    asked = client.table("operator_approvals").select("requested_at,decided_at,decided_by_email")
    approval = rows(asked.eq("order_id", order["id"]).order("requested_at", desc=True).limit(1))
    filled = [row["recorded_at"] for row in rows(
        client.table("fills").select("recorded_at").eq("order_id", order["id"]).order("id"))]  # fmt: skip
    found = {
        "signal_at": signal[0]["created_at"] if signal else None,
        "first_fill_at": filled[0] if filled else None,
        "last_fill_at": filled[-1] if filled else None,
    }
    if approval:
        found |= {"asked_at": approval[0]["requested_at"], "decided_at": approval[0]["decided_at"],
                  "decided_by_email": approval[0]["decided_by_email"]}  # fmt: skip
    return frame([found], MOMENT_COLUMNS).iloc[0]


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


def open_orders(client: Client) -> pd.DataFrame:
    """Return the orders that have not ended, the newest first; columns OPEN_ORDER_COLUMNS."""
    request = client.table("orders").select(",".join(OPEN_ORDER_COLUMNS)).in_("state", list(OPEN_STATES))
    return frame(all_rows(request.order("created_at", desc=True).order("id")), OPEN_ORDER_COLUMNS)


def latest_denials(client: Client, limit: int = 8) -> pd.DataFrame:
    """Return the entries that the gate refused last, the newest first; columns DENIAL_COLUMNS."""
    columns = ",".join(name for name in DENIAL_COLUMNS if name != "profile_name")
    request = _filtered(client, OrderFilters(states=("denied",)), f"{columns},profile:profiles(name)")
    return frame(rows_by_key(request, "created_at", None, limit)[0], DENIAL_COLUMNS)


def _filtered(client: Client, filters: OrderFilters, selected: str = _SELECTED) -> Request:
    request = client.table("orders").select(selected)
    wanted = {"state": filters.states, "profile_id": filters.profile_ids, "symbol": filters.symbols,
              "purpose": filters.purposes}  # fmt: skip
    if filters.recorded_on:
        start, end = day_in_zone(filters.recorded_on, filters.zone)
        request = request.gte("created_at", start.isoformat()).lt("created_at", end.isoformat())
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
