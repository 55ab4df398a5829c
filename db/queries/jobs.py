"""The engines' jobs, as the last heartbeat tells of them."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, frame, rows

JOB_COLUMNS: Columns = {
    "shard": "text",
    "job": "text",
    "healthy": "flag",
    "age_s": "number",
    "limit_s": "number",
    "runs": "number",
    "failures": "number",
    "last_error": "text",
    "beat_at": "time",
}


def job_health(client: Client) -> pd.DataFrame:
    """Return each job of each engine, as of its last heartbeat.

    Returns
    -------
    DataFrame by shard and job; columns JOB_COLUMNS; `age_s` seconds since the job's last good run at the heartbeat,
    `limit_s` the age that counts as dead, `beat_at` database time; empty before any engine has told of jobs.
    """
    found = rows(client.table("engine_heartbeats").select("shard,jobs,beat_at").order("shard"))
    return frame(
        [
            {"shard": engine["shard"], "job": name, "beat_at": engine["beat_at"], **job}
            for engine in found
            for name, job in sorted(engine["jobs"].items())
            if isinstance(job, dict)
        ],
        JOB_COLUMNS,
    )
