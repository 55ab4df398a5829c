"""The members of this installation."""

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame

MEMBER_COLUMNS: Columns = {
    "user_id": "text",
    "email": "text",
    "display_name": "text",
    "role": "text",
    "created_at": "time",
    "updated_at": "time",
}
ROLES = ("admin", "operator", "analyst")


def members(client: Client) -> pd.DataFrame:
    """Return the members, by e-mail address. Admins see all; others see themselves.

    Returns
    -------
    DataFrame; columns MEMBER_COLUMNS, times are the database's; `updated_at` is when the role was last set.
    """
    request = client.table("members").select(",".join(MEMBER_COLUMNS)).order("email").order("user_id")
    return frame(all_rows(request), MEMBER_COLUMNS)
