"""Profiles, the capital that they have committed, and what becomes of orders in their account that are not ours."""

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
PROFILE_SETTINGS_COLUMNS: Columns = {
    **PROFILE_COLUMNS,
    "owner_id": "text",
    "broker_account": "text",
    "shard": "text",
    "disabled_reason": "text",
    "updated_at": "time",
    "reserved_usd": "number",
    "used_usd": "number",
}
EXTERNAL_POLICY_COLUMNS: Columns = {
    "broker_account": "text",
    "profile_id": "text",
    "policy": "text",
    "reason": "text",
    "changed_by_email": "text",
    "changed_at": "time",
}
EXTERNAL_POLICIES = ("lock", "ignore", "adopt")
_COMMITTED = ("reserved_usd", "used_usd")


def profiles(client: Client) -> pd.DataFrame:
    """Return the profiles that the caller may see.

    Returns
    -------
    DataFrame by name; columns PROFILE_COLUMNS; `symbols` holds lists of text, `capital_usd` USD;
    empty when the caller owns none.
    """
    request = client.table("profiles").select(",".join(PROFILE_COLUMNS)).order("name").order("id")
    return frame(all_rows(request), PROFILE_COLUMNS)


def profile_settings(client: Client) -> pd.DataFrame:
    """Return the profiles that the caller may see, with what they have committed and why one is switched off.

    Returns
    -------
    DataFrame by name; columns PROFILE_SETTINGS_COLUMNS; amounts in USD; `disabled_reason` is missing while active,
    `updated_at` is the database's time of the last change; empty when the caller may see none.
    """
    own = ",".join(name for name in PROFILE_SETTINGS_COLUMNS if name not in _COMMITTED)
    request = client.table("profiles").select(f"{own},profile_capital({','.join(_COMMITTED)})")
    found = all_rows(request.order("name").order("id"))
    return frame([row | (row["profile_capital"] or {}) for row in found], PROFILE_SETTINGS_COLUMNS)


def external_policies(client: Client) -> pd.DataFrame:
    """Return what was said about orders that are not ours, by account; where nothing was said, they lock. Staff.

    Returns
    -------
    DataFrame; columns EXTERNAL_POLICY_COLUMNS; `profile_id` is missing where the whole account is meant, those
    come first; `changed_at` is the database's time; empty when nothing was ever said.
    """
    request = client.table("external_order_policies").select(",".join(EXTERNAL_POLICY_COLUMNS))
    return frame(all_rows(request.order("broker_account").order("profile_id", nullsfirst=True)),
                 EXTERNAL_POLICY_COLUMNS)  # fmt: skip
