"""What a fire drill looks at, as the admin who runs it sees it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from supabase import Client

from db.errors import NotFound, translated
from db.queries._frames import all_rows, rows

_IDS_AT_ONCE = 100  # they go into the address
_SENT_WITHIN = timedelta(days=1)  # what was asked for longer ago is not sent any more, and an index finds the rest


def live_profiles(client: Client) -> list[str]:
    """Return the names of the active profiles that trade live."""
    request = client.table("profiles").select("name").eq("trading_mode", "live").is_("active", "true")
    return [str(row["name"]) for row in rows(request.order("name"))]


def drill_heartbeats(client: Client) -> list[dict[str, Any]]:
    """Return shard and detail of every engine's last sign of life."""
    return rows(client.table("engine_heartbeats").select("shard,detail").order("shard"))


def entry_ids(client: Client, order_ids: Sequence[str]) -> set[str]:
    """Return which of these ids are entries."""
    found: set[str] = set()
    for start in range(0, len(order_ids), _IDS_AT_ONCE):
        some = list(order_ids[start : start + _IDS_AT_ONCE])
        request = client.table("orders").select("id").in_("id", some).eq("purpose", "entry")
        found |= {str(row["id"]) for row in rows(request)}
    return found


def entries_sent_after(client: Client, at: datetime) -> int:
    """Return how many entries got a permit after a moment of the database's clock."""
    request = client.table("orders").select("id", count="exact").eq("purpose", "entry")  # type: ignore[arg-type]
    request = request.gt("created_at", (at - _SENT_WITHIN).isoformat())
    with translated():
        answer = request.gt("submitted_at", at.isoformat()).limit(1).execute()
    return answer.count or 0


def drill_positions(client: Client) -> list[dict[str, Any]]:
    """Return every open position with `stops`, the broker's ids of its resting stops; amounts as text."""
    columns = "trade_id,symbol,qty::text,avg_entry_price::text,mark_price::text"
    held = all_rows(client.table("positions").select(columns).order("trade_id"))
    resting = client.table("orders").select("trade_id,broker_order_id").eq("purpose", "stop_loss")
    resting = resting.in_("state", ["working", "partially_filled"])
    stops = all_rows(resting.order("created_at", desc=True).order("id"))
    return [
        row
        | {"stops": [s["broker_order_id"] for s in stops if s["trade_id"] == row["trade_id"] and s["broker_order_id"]]}
        for row in held
    ]


def drill_order(client: Client, order_id: str) -> dict[str, Any]:
    """Return how far one order is.

    Raises
    ------
    NotFound
    """
    found = rows(client.table("orders").select("state,created_at,submitted_at,updated_at").eq("id", order_id))
    if not found:
        raise NotFound(f"Order {order_id} is not there.", code="NOT_FOUND")
    return found[0]
