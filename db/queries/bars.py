"""Price bars as the engine fetched them."""

from datetime import datetime

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

BAR_COLUMNS: Columns = {
    "bar_at": "time",
    "open": "number",
    "high": "number",
    "low": "number",
    "close": "number",
    "volume": "number",
}


def price_bars(client: Client, symbol: str, timeframe: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the bars of one symbol that start within [start, end].

    Returns
    -------
    DataFrame by bar_at ascending; columns BAR_COLUMNS; prices in USD, `bar_at` the bar's start in
    market time; empty when the engine fetched none of that time.
    """
    request = (
        client.table("price_bars")
        .select(",".join(BAR_COLUMNS))
        .eq("symbol", symbol)
        .eq("timeframe", timeframe)
        .gte("bar_at", start.isoformat())
        .lte("bar_at", end.isoformat())
        .order("bar_at")
    )
    return frame(all_rows(request), BAR_COLUMNS)
