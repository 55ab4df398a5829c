"""Changes of mode that somebody planned ahead."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

SCHEDULE_COLUMNS: Columns = {
    "id": "text",
    "scope": "text",
    "scope_key": "text",
    "mode": "text",
    "kind": "text",
    "time_zone": "text",
    "starts_at": "time",
    "ends_at": "time",
    "weekdays": "object",
    "dates": "object",
    "days_before": "number",
    "days_after": "number",
    "start_time": "text",
    "end_time": "text",
    "inverted": "flag",
    "condition": "object",
    "resume_condition": "object",
    "reason": "text",
    "active": "flag",
    "in_force": "flag",
    "next_at": "time",
    "created_by_email": "text",
    "created_at": "time",
}


def planned_changes(client: Client) -> pd.DataFrame:
    """Return the planned changes that are still to come or going on, the next one first.

    Returns
    -------
    DataFrame; columns SCHEDULE_COLUMNS; `starts_at`, `ends_at`, `next_at` and `created_at` are database times,
    `start_time` and `end_time` times of day in `time_zone`; `next_at` is NaT for conditions, which are looked
    at all the time; empty when nothing is planned.
    """
    request = client.table("control_schedules").select(",".join(SCHEDULE_COLUMNS)).eq("active", True)
    found = all_rows(request.order("next_at").order("created_at").order("id"))
    endless = [{**row, "next_at": None} if row["next_at"] == "infinity" else row for row in found]
    return frame(endless, SCHEDULE_COLUMNS)
