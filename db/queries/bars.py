"""Price bars as the engine fetched them, and the latest price that is known."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, all_rows, frame, rows

BAR_COLUMNS: Columns = {
    "bar_at": "time",
    "open": "number",
    "high": "number",
    "low": "number",
    "close": "number",
    "volume": "number",
}
_CLOSE_COLUMNS: Columns = {name: BAR_COLUMNS[name] for name in ("bar_at", "close")}
PRICE_COLUMNS: Columns = {"symbol": "text", "price": "number", "price_at": "time", "source": "text"}


def price_bars(client: Client, symbol: str, timeframe: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the bars of one symbol that start within [start, end].

    Returns
    -------
    DataFrame by bar_at ascending; columns BAR_COLUMNS; prices in USD, `bar_at` the bar's start in
    market time; empty when the engine fetched none of that time.
    """
    return _bars(client, symbol, timeframe, start, end, BAR_COLUMNS)


def daily_closes(client: Client, symbols: Iterable[str], start: datetime, end: datetime) -> pd.DataFrame:
    """Return the closes of daily bars that start within [start, end], one column per symbol.

    Returns
    -------
    DataFrame; index the session's date ascending, prices in USD, NaN where a symbol has no bar that day;
    without the symbols of which there is no daily bar at all.
    """
    closes = {
        symbol: bars.set_index(_session_of(bars["bar_at"]))["close"]
        for symbol in sorted(set(symbols))
        if len(bars := _bars(client, symbol, "1Day", start, end, _CLOSE_COLUMNS))
    }
    return pd.DataFrame(closes).sort_index()


def _bars(
    client: Client, symbol: str, timeframe: str, start: datetime, end: datetime, columns: Columns
) -> pd.DataFrame:
    request = (
        client.table("price_bars")
        .select(",".join(columns))
        .eq("symbol", symbol)
        .eq("timeframe", timeframe)
        .gte("bar_at", start.isoformat())
        .lte("bar_at", end.isoformat())
        .order("bar_at")
    )
    return frame(all_rows(request), columns)


def _session_of(bar_at: pd.Series) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(bar_at).tz_convert("America/New_York").tz_localize(None).normalize()


def latest_prices(client: Client, symbols: Iterable[str]) -> pd.DataFrame:
    """Return the latest known price per symbol: a position's mark or a bar's close, whichever is later.

    Returns
    -------
    DataFrame, one row per symbol of which a price is known; columns PRICE_COLUMNS; `price` in USD, `price_at`
    market time (a bar's start), `source` mark or bar.
    """
    found = [_latest_price(client, symbol) for symbol in sorted(set(symbols))]
    return frame([price for price in found if price], PRICE_COLUMNS)


def _latest_price(client: Client, symbol: str) -> dict[str, Any] | None:
    marks = client.table("positions").select("price:mark_price,price_at:marked_at").eq("symbol", symbol)
    marks = marks.gt("mark_price", 0).not_.is_("marked_at", "null").order("marked_at", desc=True).limit(1)
    bars = client.table("price_bars").select("price:close,price_at:bar_at").eq("symbol", symbol)
    found = [{**row, "source": "mark"} for row in rows(marks)]
    found += [{**row, "source": "bar"} for row in rows(bars.order("bar_at", desc=True).limit(1))]
    latest = max(found, key=lambda row: datetime.fromisoformat(row["price_at"]), default=None)
    return {**latest, "symbol": symbol} if latest else None
