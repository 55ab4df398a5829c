"""Open positions with their protection and their last mark."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame, narrowed, rows

POSITION_COLUMNS: Columns = {
    "trade_id": "text",
    "profile_id": "text",
    "profile_name": "text",
    "owner_id": "text",
    "symbol": "text",
    "side": "text",
    "qty": "number",
    "avg_entry_price": "number",
    "cost_usd": "number",
    "mark_price": "number",
    "unrealized_pnl_usd": "number",
    "stop_price": "number",
    "take_profit_price": "number",
    "protected_qty": "number",
    "opened_at": "time",
    "marked_at": "time",
}
EXPOSURE_COLUMNS: Columns = {
    "owner_id": "text",
    "sector": "text",
    "held_usd": "number",
    "entering_usd": "number",
    "limit_usd": "number",
}
_IN_FORCE = ("awaiting_approval", "ready", "submitting", "unknown", "working", "partially_filled")


@dataclass(frozen=True)
class PositionFilters:
    """Which positions are wanted; an empty field wants all."""

    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()


def open_positions(client: Client, filters: PositionFilters | None = None) -> pd.DataFrame:
    """Return the open positions that the caller may see and that match, the newest first.

    Returns
    -------
    DataFrame; columns POSITION_COLUMNS plus
    `risk_usd` float64, what is lost if the stop is hit at its price (NaN without a stop, never below 0),
    `stop_distance`, `target_distance` float64, fractions of the mark (0.05: 5 % away; NaN when unknown),
    `is_protected` bool, whether working stops cover the whole quantity;
    times are market times; empty when nothing is held.
    """
    columns = ",".join(name for name in POSITION_COLUMNS if name != "profile_name")
    wanted = filters or PositionFilters()
    request = client.table("positions").select(f"{columns},profile:profiles(name)")
    request = narrowed(request, {"profile_id": wanted.profile_ids, "symbol": wanted.symbols})
    request = request.order("opened_at", desc=True).order("trade_id")
    return with_protection(frame(all_rows(request), POSITION_COLUMNS))


def owner_emails(client: Client) -> dict[str, str]:
    """Return the members' addresses by id, as far as the caller may read them: admins all, others their own."""
    return {
        row["user_id"]: row["email"] for row in all_rows(client.table("members").select("user_id,email").order("email"))
    }


def exits_under_way(client: Client) -> pd.DataFrame:
    """Return the exits that have been asked for and have not ended; columns `trade_id`, `order_id`, `state` text."""
    request = (
        client.table("orders").select("trade_id,order_id:id,state").in_("state", list(_IN_FORCE)).eq("purpose", "exit")
    )
    return frame(
        all_rows(request.order("created_at", desc=True).order("id")),
        dict.fromkeys(("trade_id", "order_id", "state"), "text"),
    )


def sector_exposure(client: Client, positions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return what each owner's profiles hold or are entering, by sector, beside the limit that the gate judges by.

    Parameters
    ----------
    positions : as `open_positions` without filters, where they are at hand; else they are read

    Returns
    -------
    DataFrame by owner and sector; columns EXPOSURE_COLUMNS, USD at cost; `limit_usd` is NaN where no limit is set;
    empty when nothing is held or being entered.
    """
    config = rows(client.table("risk_configs").select("exposure:config->sector_exposure").eq("active", True))
    exposure: Mapping[str, Any] = config[0]["exposure"] or {} if config else {}
    sectors, max_pct = exposure.get("sectors") or {}, exposure.get("max_pct")
    limits = _limits(client, float(max_pct)) if max_pct is not None else {}
    held = open_positions(client) if positions is None else positions
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for owner, symbol, cost_usd in zip(held["owner_id"], held["symbol"], held["cost_usd"], strict=True):
        found[owner, sectors.get(symbol, "other")][0] += cost_usd
    for row in _entering(client):
        found[row["owner_id"], sectors.get(row["symbol"], "other")][1] += float(row["reserved_usd"] or 0)
    summed = [
        {"owner_id": owner, "sector": sector, "held_usd": usd, "entering_usd": entering, "limit_usd": limits.get(owner)}
        for (owner, sector), (usd, entering) in sorted(found.items())
    ]
    return frame(summed, EXPOSURE_COLUMNS)


def _limits(client: Client, max_pct: float) -> dict[str, float]:
    """Return what each owner may hold in one sector, in USD."""
    limits: defaultdict[str, float] = defaultdict(float)
    for row in all_rows(client.table("profile_capital").select("owner_id,capital_usd").order("profile_id")):
        limits[row["owner_id"]] += float(row["capital_usd"]) * max_pct
    return dict(limits)


def _entering(client: Client) -> list[dict[str, Any]]:
    request = client.table("orders").select("owner_id,symbol,reserved_usd").eq("purpose", "entry")
    return all_rows(request.in_("state", list(_IN_FORCE)).order("created_at", desc=True).order("id"))


def with_protection(positions: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from stop, target and mark: risk, distances, protection."""
    direction = positions["side"].map({"long": 1.0, "short": -1.0}).astype("float64")
    mark = positions["mark_price"].fillna(positions["avg_entry_price"])
    per_share = (mark - positions["stop_price"]) * direction
    return positions.assign(
        risk_usd=(per_share * positions["qty"]).clip(lower=0),
        stop_distance=per_share / mark,
        target_distance=(positions["take_profit_price"] - mark) * direction / mark,
        is_protected=positions["protected_qty"] >= positions["qty"],
    )
