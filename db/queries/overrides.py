"""Permissions to pass one limit of the gate for a while."""

from collections.abc import Sequence

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

OVERRIDE_COLUMNS: Columns = {
    "id": "text",
    "profile_id": "text",
    "profile_name": "text",
    "symbol": "text",
    "code": "text",
    "reason": "text",
    "granted_by_email": "text",
    "starts_at": "time",
    "expires_at": "time",
}
CODES = (
    "SYMBOL_LOCKED", "ORDER_QTY_MAX", "ORDER_NOTIONAL_MAX", "PRICE_COLLAR", "OPEN_ORDERS_MAX", "POSITIONS_MAX",
    "POSITION_LIMIT", "SECTOR_EXPOSURE", "GROSS_EXPOSURE", "ORDER_RATE", "DAILY_LOSS", "DRAWDOWN", "LOSS_STREAK",
    "MARKET_CLOSED",
)  # fmt: skip


def overrides_in_force(client: Client, profile_ids: Sequence[str]) -> pd.DataFrame:
    """Return the overrides of these profiles that hold now by the database's clock, what ends first at the top.

    Returns
    -------
    DataFrame; columns OVERRIDE_COLUMNS, times are the database's; `symbol` is missing where all of the profile's
    are meant; empty when no limit is overridden.
    """
    if not len(profile_ids):
        return frame([], OVERRIDE_COLUMNS)
    columns = ",".join(name for name in OVERRIDE_COLUMNS if name != "profile_name")
    request = client.table("gate_overrides").select(f"{columns},profile:profiles(name)")
    request = request.in_("profile_id", list(profile_ids)).is_("revoked_at", "null").gt("expires_at", "now")
    return frame(all_rows(request.order("expires_at").order("id")), OVERRIDE_COLUMNS)
