"""What profiles were worth, session by session."""

from collections.abc import Hashable, Mapping
from datetime import date
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame, rows
from db.queries._scope import owners_rows

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
MARKET_SPAN_COLUMNS: Columns = {"start": "time", "end": "time", "reason": "text"}


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
    request = owners_rows(client.table("equity_daily").select(f"{columns},profile:profiles(name)"), client)
    request = request.order("session_date").order("profile_id")
    if since:
        request = request.gte("session_date", since.isoformat())
    return frame(all_rows(request), PROFILE_EQUITY_COLUMNS)


def in_market_time(client: Client, pauses: pd.DataFrame) -> pd.DataFrame:
    """Return pauses, known in database time, as spans of market time, so that a chart can shade them.

    The snapshots carry both clocks; the first one recorded within a pause and the last one give its ends.

    Parameters
    ----------
    pauses : as `db.queries.controls.global_pauses`

    Returns
    -------
    DataFrame; columns MARKET_SPAN_COLUMNS; without the pauses during which no snapshot was taken.
    """
    spans = [_market_span(client, pause) for pause in pauses.to_dict("records")]
    return frame([span for span in spans if span], MARKET_SPAN_COLUMNS)


def _market_span(client: Client, pause: Mapping[Hashable, Any]) -> dict[str, Any] | None:
    def edge(*, desc: bool) -> str | None:
        request = client.table("equity_snapshots").select("market_at")
        request = request.gte("recorded_at", pause["started_at"].isoformat())
        if pd.notna(pause["ended_at"]):
            request = request.lte("recorded_at", pause["ended_at"].isoformat())
        found = rows(request.order("recorded_at", desc=desc).limit(1))
        return str(found[0]["market_at"]) if found else None

    start, end = edge(desc=False), edge(desc=True)
    return {"start": start, "end": end, "reason": pause["reason"]} if start and end else None
