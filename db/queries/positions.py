"""Open positions with their protection and their last mark."""

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


def sector_exposure(client: Client) -> pd.DataFrame:
    """Return what each owner's profiles hold or are entering, by sector, beside the limit that the gate judges by.

    Returns
    -------
    DataFrame by owner and sector; columns EXPOSURE_COLUMNS, USD at cost; `limit_usd` is NaN where no limit is set;
    empty when nothing is held or being entered.
    """
    config = rows(client.table("risk_configs").select("config").eq("active", True))
    exposure: Mapping[str, Any] = config[0]["config"].get("sector_exposure") or {} if config else {}
    sectors, max_pct = exposure.get("sectors") or {}, exposure.get("max_pct")
    capital = frame(
        all_rows(client.table("profile_capital").select("owner_id,capital_usd").order("profile_id")),
        {"owner_id": "text", "capital_usd": "number"},
    )
    held = all_rows(client.table("positions").select("owner_id,symbol,held_usd:cost_usd").order("trade_id"))
    entering = client.table("orders").select("owner_id,symbol,entering_usd:reserved_usd").eq("purpose", "entry")
    entering = entering.in_("state", list(_IN_FORCE)).order("created_at", desc=True).order("id")
    both = frame([{"held_usd": 0, "entering_usd": 0} | row for row in [*held, *all_rows(entering)]],
                 {"owner_id": "text", "symbol": "text", "held_usd": "number", "entering_usd": "number"})  # fmt: skip
    both["sector"] = both["symbol"].map(lambda symbol: sectors.get(symbol, "other")).astype("str")
    summed = both.groupby(["owner_id", "sector"], as_index=False)[["held_usd", "entering_usd"]].sum()
    limit = float(max_pct) if max_pct is not None else float("nan")
    of_owner = capital.groupby("owner_id")["capital_usd"].sum() * limit
    return summed.assign(limit_usd=summed["owner_id"].map(of_owner).astype("float64"))[list(EXPOSURE_COLUMNS)]


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
