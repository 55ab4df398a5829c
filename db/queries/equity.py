"""What profiles were worth, session by session."""

from datetime import date

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

EQUITY_COLUMNS: Columns = {
    "session_date": "date",
    "market_at": "time",
    "equity_usd": "number",
    "cash_usd": "number",
    "exposure_usd": "number",
    "realized_usd": "number",
    "unrealized_usd": "number",
}
PROFILE_EQUITY_COLUMNS: Columns = {"profile_id": "text", "profile_name": "text", **EQUITY_COLUMNS}


def equity_curve(client: Client, since: date | None = None) -> pd.DataFrame:
    """Return equity per session, summed over the profiles that the caller may see.

    Returns
    -------
    DataFrame by session_date ascending, one row per session; columns EQUITY_COLUMNS, amounts in USD;
    `market_at` is the market time of the session's last snapshot; empty before the first snapshot.
    """
    request = client.table("equity_curve").select(",".join(EQUITY_COLUMNS)).order("session_date")
    if since:
        request = request.gte("session_date", since.isoformat())
    return frame(all_rows(request), EQUITY_COLUMNS)


def equity_by_profile(client: Client, since: date | None = None) -> pd.DataFrame:
    """Return equity per session and profile.

    Returns
    -------
    DataFrame by session_date, then profile; columns PROFILE_EQUITY_COLUMNS, amounts in USD; empty
    before the first snapshot.
    """
    columns = ",".join(name for name in PROFILE_EQUITY_COLUMNS if name != "profile_name")
    request = (
        client.table("equity_daily")
        .select(f"{columns},profile:profiles(name)")
        .order("session_date")
        .order("profile_id")
    )
    if since:
        request = request.gte("session_date", since.isoformat())
    return frame(all_rows(request), PROFILE_EQUITY_COLUMNS)
