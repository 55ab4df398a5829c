"""What profiles were worth, session by session."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

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
PROFIT_COLUMNS: Columns = {
    name: PROFILE_EQUITY_COLUMNS[name]
    for name in ("profile_name", "session_date", "equity_usd", "realized_usd", "unrealized_usd")
}
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


def profit_by_profile(client: Client, sessions: Sequence[date], names: Mapping[str, str]) -> pd.DataFrame:
    """Return what each profile has gained in some sessions, as little as comparing them takes.

    Parameters
    ----------
    names : the profiles' names by id

    Returns
    -------
    DataFrame by session_date, then profile; columns PROFIT_COLUMNS, amounts in USD; a profile without a name
    goes by its id; empty before the first snapshot.
    """
    request = client.table("equity_daily").select("profile_id,session_date,equity_usd,realized_usd,unrealized_usd")
    request = owners_rows(request, client).in_("session_date", [session.isoformat() for session in sessions])
    found = all_rows(request.order("session_date").order("profile_id"))
    return frame([row | {"profile_name": names.get(row["profile_id"], row["profile_id"])} for row in found],
                 PROFIT_COLUMNS)  # fmt: skip


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


def in_market_time(client: Client, several: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return several sets of spans of database time as spans of market time, so that a chart can draw them.

    The snapshots carry both clocks; the first one recorded within a span and the last one give its ends.

    Parameters
    ----------
    several : columns `started_at`, `ended_at` (NaT while it goes on), `reason`; as `db.queries.controls.global_pauses`

    Returns
    -------
    One DataFrame for each; columns MARKET_SPAN_COLUMNS; without the spans during which no snapshot was taken.
    """
    sets = [[*zip(spans["started_at"], spans["ended_at"].fillna(_NOT_YET), spans["reason"], strict=True)]
            for spans in several]  # fmt: skip
    at = _market_times(client, {moment for spans in sets for start, end, _ in spans for moment in (start, end)})
    return [frame(list(_known_spans(spans, at)), MARKET_SPAN_COLUMNS) for spans in sets]


_NOT_YET = pd.Timestamp.max.tz_localize("UTC").floor("D")


def _market_times(client: Client, moments: set[pd.Timestamp]) -> dict[pd.Timestamp, dict[str, Any]]:
    """Return what the snapshots say of each moment."""
    if not moments:
        return {}
    asked = sorted(moment.isoformat() for moment in moments)
    return {pd.Timestamp(row["moment"]): row for row in answered("market_times", client, {"p_moments": asked})}


def _known_spans(
    spans: Iterable[tuple[pd.Timestamp, pd.Timestamp, str]], at: Mapping[pd.Timestamp, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for started_at, ended_at, reason in spans:
        start, end = at[started_at]["first_after"], at[ended_at]["last_before"]
        if start and end and start <= end:
            yield {"start": start, "end": end, "reason": reason}
