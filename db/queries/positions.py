"""Open positions with their protection and their last mark."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

POSITION_COLUMNS: Columns = {
    "trade_id": "text",
    "profile_id": "text",
    "profile_name": "text",
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


def open_positions(client: Client) -> pd.DataFrame:
    """Return the open positions that the caller may see, the newest first.

    Returns
    -------
    DataFrame; columns POSITION_COLUMNS plus
    `risk_usd` float64, what is lost if the stop is hit at its price (NaN without a stop, never below 0),
    `stop_distance`, `target_distance` float64, fractions of the mark (0.05: 5 % away; NaN when unknown),
    `is_protected` bool, whether working stops cover the whole quantity;
    times are market times; empty when nothing is held.
    """
    columns = ",".join(name for name in POSITION_COLUMNS if name != "profile_name")
    request = (
        client.table("positions")
        .select(f"{columns},profile:profiles(name)")
        .order("opened_at", desc=True)
        .order("trade_id")
    )
    return with_protection(frame(all_rows(request), POSITION_COLUMNS))


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
