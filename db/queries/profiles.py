"""Profiles and the capital that they have committed."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

PROFILE_COLUMNS: Columns = {
    "id": "text",
    "name": "text",
    "strategy": "text",
    "symbols": "object",
    "timeframe": "text",
    "trading_mode": "text",
    "active": "flag",
    "capital_usd": "number",
}


def profiles(client: Client) -> pd.DataFrame:
    """Return the profiles that the caller may see.

    Returns
    -------
    DataFrame by name; columns PROFILE_COLUMNS; `symbols` holds lists of text, `capital_usd` USD;
    empty when the caller owns none.
    """
    request = client.table("profiles").select(",".join(PROFILE_COLUMNS)).order("name").order("id")
    return frame(all_rows(request), PROFILE_COLUMNS)
