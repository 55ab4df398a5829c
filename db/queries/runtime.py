"""What is going on right now, as rows for programs: amounts as text, so that no float touches them."""

from typing import Any

from supabase import Client

from db.queries._frames import rows

OPEN_STATES = ("awaiting_approval", "ready", "submitting", "unknown", "working", "partially_filled")
ROWS_MAX = 500


def profile_states(client: Client) -> list[dict[str, Any]]:
    """Return the caller's profiles with their capital, by name."""
    capital = "capital_usd::text,reserved_usd::text,used_usd::text,realized_usd::text"
    request = client.table("profiles").select(
        f"id,name,strategy,symbols,timeframe,trading_mode,active,disabled_reason,capital:profile_capital({capital})"
    )
    found = rows(request.order("name").order("id").limit(ROWS_MAX))
    return [{**row, "capital": _one(row["capital"])} for row in found]


def held_positions(client: Client, symbol: str | None = None) -> list[dict[str, Any]]:
    """Return the caller's open positions, the newest first; of one symbol if it is named."""
    amounts = ("qty", "avg_entry_price", "mark_price", "unrealized_pnl_usd", "stop_price", "protected_qty")
    columns = ",".join(f"{name}::text" for name in amounts)
    request = client.table("positions").select(f"trade_id,profile_id,symbol,side,{columns},opened_at,marked_at")
    if symbol:
        request = request.eq("symbol", symbol)
    return rows(request.order("opened_at", desc=True).order("trade_id").limit(ROWS_MAX))


def open_orders(client: Client, symbol: str | None = None) -> list[dict[str, Any]]:
    """Return the caller's orders that have not ended, the newest first; of one symbol if it is named."""
    columns = (
        "id,profile_id,symbol,side,purpose,state,order_type,qty::text,filled_qty::text,limit_price::text,created_at"
    )
    request = client.table("orders").select(columns).in_("state", list(OPEN_STATES))
    if symbol:
        request = request.eq("symbol", symbol)
    return rows(request.order("created_at", desc=True).order("id").limit(ROWS_MAX))


def _one(embedded: Any) -> Any:
    return embedded[0] if isinstance(embedded, list) and embedded else embedded
