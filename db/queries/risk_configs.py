"""The versions of the risk configuration."""

from typing import Any

from supabase import Client

from db.errors import NotFound
from db.queries._frames import Columns, frame, rows
from db.queries.paging import Cursor, Page

RISK_VERSION_COLUMNS: Columns = {
    "version": "number",
    "active": "flag",
    "created_at": "time",
    "created_by_email": "text",
    "reason": "text",
    "diff": "object",
}


def risk_versions(client: Client, after: Cursor | None = None, size: int = 50) -> Page:
    """Return one page of the versions, the newest first.

    Returns
    -------
    Page; `found` has columns RISK_VERSION_COLUMNS, times are the database's; `diff` holds lists of
    {path, from, to} against the version before.
    """
    request = client.table("risk_configs").select(",".join(RISK_VERSION_COLUMNS)).order("version", desc=True)
    if after:
        request = request.lt("version", int(after.id))
    found = rows(request.limit(size + 1))
    page = frame(found[:size], RISK_VERSION_COLUMNS)
    if len(found) <= size:
        return Page(page, None)
    last = page.iloc[-1]
    return Page(page, Cursor(last["created_at"].to_pydatetime(), str(int(last["version"]))))


def risk_config_at(client: Client, version: int) -> dict[str, Any]:
    """Return a version as it is stored: version, config, active, created_at, created_by_email, reason, diff.

    Raises
    ------
    NotFound
    """
    columns = ",".join([*RISK_VERSION_COLUMNS, "config"])
    found = rows(client.table("risk_configs").select(columns).eq("version", version))
    if not found:
        raise NotFound(f"There is no version {version} of the risk configuration.", code="NOT_FOUND")
    return found[0]
