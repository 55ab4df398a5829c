"""What profiles were worth, session by session."""

from collections.abc import Sequence
from datetime import date

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, answered, frame
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
_AMOUNTS = [name for name in EQUITY_COLUMNS if name.endswith("_usd")]
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


def equity_by_profile(
    client: Client, since: date | None = None, sessions: Sequence[date] | None = None
) -> pd.DataFrame:
    """Return equity per session and profile, of all sessions or of those that are named.

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
    if sessions is not None:
        request = request.in_("session_date", [session.isoformat() for session in sessions])
    return frame(all_rows(request), PROFILE_EQUITY_COLUMNS)


def equity_of_profiles(client: Client, profile_ids: Sequence[str], since: date | None = None) -> pd.DataFrame:
    """Return equity per session, summed over some profiles; columns and order as `equity_curve`."""
    columns = ",".join(EQUITY_COLUMNS)
    request = client.table("equity_daily").select(columns).in_("profile_id", list(profile_ids))
    request = request.order("session_date").order("profile_id")
    if since:
        request = request.gte("session_date", since.isoformat())
    own = frame(all_rows(request), EQUITY_COLUMNS)
    summed = own.groupby("session_date", as_index=False).agg({"market_at": "max"} | dict.fromkeys(_AMOUNTS, "sum"))
    return summed[list(EQUITY_COLUMNS)]


def in_market_time(client: Client, spans: pd.DataFrame) -> pd.DataFrame:
    """Return spans of database time as spans of market time, so that a chart can draw them.

    The snapshots carry both clocks; the first one recorded within a span and the last one give its ends.

    Parameters
    ----------
    spans : columns `started_at`, `ended_at` (NaT while it goes on), `reason`; as `db.queries.controls.global_pauses`

    Returns
    -------
    DataFrame; columns MARKET_SPAN_COLUMNS; without the spans during which no snapshot was taken.
    """
    if spans.empty:
        return frame([], MARKET_SPAN_COLUMNS)
    spans = spans.assign(ended_at=spans["ended_at"].fillna(pd.Timestamp.max.tz_localize("UTC").floor("D")))
    moments = sorted({moment.isoformat() for moment in pd.concat([spans["started_at"], spans["ended_at"]])})
    at = {pd.Timestamp(row["moment"]): row for row in answered("market_times", client, {"p_moments": moments})}
    found = [
        {
            "start": at[span["started_at"]]["first_after"],
            "end": at[span["ended_at"]]["last_before"],
            "reason": span["reason"],
        }
        for span in spans.to_dict("records")
    ]
    known = [span for span in found if span["start"] and span["end"] and span["start"] <= span["end"]]
    return frame(known, MARKET_SPAN_COLUMNS)
