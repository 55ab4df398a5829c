"""The engines: their leases and signs of life, and what comparing the books with the broker's has found."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame, rows
from db.queries.paging import Cursor, Page, rows_by_key

ENGINE_COLUMNS: Columns = {
    "shard": "text",
    "holder": "text",
    "token": "number",
    "version": "text",
    "started_at": "time",
    "beat_at": "time",
    "market_at": "time",
    "detail": "object",
    "lease_holder": "text",
    "lease_token": "number",
    "lease_acquired_at": "time",
    "lease_expires_at": "time",
}
RUN_COLUMNS: Columns = {
    "id": "text",
    "shard": "text",
    "kind": "text",
    "started_at": "time",
    "finished_at": "time",
    "orders_checked": "number",
    "orders_changed": "number",
    "positions_checked": "number",
    "findings": "number",
}
FINDING_COLUMNS: Columns = {
    "id": "text",
    "run_id": "text",
    "shard": "text",
    "kind": "text",
    "symbol": "text",
    "severity": "text",
    "status": "text",
    "ignored": "flag",
    "action": "text",
    "advice": "text",
    "detail": "object",
    "first_seen_at": "time",
    "last_seen_at": "time",
}
_LEASE = ("holder", "token", "acquired_at", "expires_at")


def engines(client: Client) -> pd.DataFrame:
    """Return each shard's engine: its last sign of life, and its lease where the caller may see that (staff).

    Returns
    -------
    DataFrame by shard; columns ENGINE_COLUMNS, times are the database's but `market_at`, the broker's;
    empty before any engine has begun.
    """
    beats = [name for name in ENGINE_COLUMNS if not name.startswith("lease_")]
    found = rows(client.table("engine_heartbeats").select(",".join(beats)).order("shard"))
    leases = {row["shard"]: row for row in rows(client.table("engine_leases").select(",".join(("shard", *_LEASE))))}
    return frame(
        [row | {f"lease_{name}": leases.get(row["shard"], {}).get(name) for name in _LEASE} for row in found],
        ENGINE_COLUMNS,
    )


def reconciliation_runs(client: Client, after: Cursor | None = None, size: int = 20) -> Page:
    """Return one page of the comparisons with the broker, the last finished first. Staff; others see none.

    Returns
    -------
    Page; `found` has columns RUN_COLUMNS, times are the database's; `findings` counts what differed.
    """
    request = client.table("reconciliation_runs").select(",".join(RUN_COLUMNS))
    found, following = rows_by_key(request, "finished_at", after, size)
    return Page(frame(found, RUN_COLUMNS), following)


def open_findings(client: Client) -> pd.DataFrame:
    """Return the differences that were there in the newest run, the critical ones first. Staff; others see none.

    Returns
    -------
    DataFrame; columns FINDING_COLUMNS; `action` says what was done, `advice` what a person should do.
    """
    request = client.table("reconciliation_findings").select(",".join(FINDING_COLUMNS)).eq("status", "open")
    found = frame(all_rows(request.order("shard").order("key")), FINDING_COLUMNS)
    order = found["severity"].map({"critical": 0, "warning": 1, "info": 2})
    return found.assign(order=order).sort_values(["order", "first_seen_at"], ignore_index=True).drop(columns="order")


def past_findings(client: Client, after: Cursor | None = None, size: int = 50) -> Page:
    """Return one page of the differences that are gone or not minded, the last seen first. Staff; others see none.

    Returns
    -------
    Page; `found` has columns FINDING_COLUMNS; empty when nothing ever differed.
    """
    request = client.table("reconciliation_findings").select(",".join(FINDING_COLUMNS)).eq("status", "repaired")
    found, following = rows_by_key(request, "last_seen_at", after, size)
    return Page(frame(found, FINDING_COLUMNS), following)
