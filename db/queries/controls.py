"""The history of the trading controls."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, frame, rows

CONTROL_EVENT_COLUMNS: Columns = {
    "id": "number",
    "scope": "text",
    "scope_key": "text",
    "from_mode": "text",
    "to_mode": "text",
    "version": "number",
    "reason_code": "text",
    "reason": "text",
    "changed_by_email": "text",
    "changed_at": "time",
    "entries_canceled": "number",
    "entries_in_flight": "number",
    "ended_at": "time",
    "duration_s": "number",
}
PAUSE_COLUMNS: Columns = {"started_at": "time", "ended_at": "time", "reason": "text"}


def control_history(client: Client, limit: int = 200) -> pd.DataFrame:
    """Return the last changes of the controls, the newest first.

    Returns
    -------
    DataFrame with at most `limit` rows; columns CONTROL_EVENT_COLUMNS, times are the database's; `duration_s`
    how many seconds what was set lasted, `ended_at` NaT while it goes on; empty when nothing was ever changed.
    """
    columns = ",".join(CONTROL_EVENT_COLUMNS)
    request = (
        client.table("trading_control_history").select(columns).order("changed_at", desc=True).order("id", desc=True)
    )
    return frame(rows(request.limit(limit)), CONTROL_EVENT_COLUMNS)


def latest_pauses(client: Client, limit: int = 200) -> pd.DataFrame:
    """Return the spans in which the whole of trading did not run, as far as its last `limit` changes tell of them.

    Returns
    -------
    DataFrame as `global_pauses`.
    """
    columns: Columns = {"scope": "text", "to_mode": "text", "reason": "text", "changed_at": "time"}
    request = client.table("trading_control_events").select(",".join(columns))
    request = request.eq("scope", "global").eq("scope_key", "*").order("id", desc=True)
    return global_pauses(frame(rows(request.limit(limit)), columns))


def global_pauses(history: pd.DataFrame) -> pd.DataFrame:
    """Return the spans in which the whole of trading did not run, from `control_history`.

    Returns
    -------
    DataFrame by started_at; columns PAUSE_COLUMNS, database time; `ended_at` NaT while it goes on;
    empty when trading was never stopped.
    """
    spans: list[dict[str, object]] = []
    changes = history[history["scope"] == "global"].sort_values("changed_at")
    for change in changes.itertuples():
        is_open = bool(spans) and spans[-1]["ended_at"] is None
        if change.to_mode == "RUNNING" and is_open:
            spans[-1]["ended_at"] = change.changed_at
        elif change.to_mode != "RUNNING" and not is_open:
            spans.append({"started_at": change.changed_at, "ended_at": None, "reason": change.reason})
    return frame(spans, PAUSE_COLUMNS)
