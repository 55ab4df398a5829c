"""What closed trades add up to: from the monthly sums, never from the trades themselves."""

from dataclasses import dataclass
from datetime import date

import pandas as pd
from supabase import Client

from db.queries._frames import Columns, answered, frame

STATISTICS_COLUMNS: Columns = {
    "key": "text",
    "trades": "number",
    "wins": "number",
    "losses": "number",
    "gains_usd": "number",
    "losses_usd": "number",
    "pnl_squared": "number",
    "volume_usd": "number",
    "holding_s": "number",
}
DIMENSIONS = ("month", "profile", "strategy", "symbol", "side", "exit_reason")
BIN_STEP = 0.005
BINS_FROM = -0.10
BINS = 42  # below BINS_FROM, forty steps, and above


@dataclass(frozen=True)
class StatisticsFilters:
    """Which closed trades are wanted; an empty field wants all. Whole months on New York's calendar, [since, until)."""

    since: date | None = None
    until: date | None = None
    profile_ids: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    exit_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statistics:
    """Closed trades added up: in all, and by each dimension. `bins`: how many trades returned what, BINS long."""

    total: pd.DataFrame
    by: dict[str, pd.DataFrame]
    bins: list[int]


def trade_statistics(client: Client, filters: StatisticsFilters) -> Statistics:
    """Return what the closed trades that the caller may see add up to.

    Returns
    -------
    Statistics; frames have columns STATISTICS_COLUMNS, amounts in USD, `losses_usd` 0 or more, `holding_s` seconds
    over all trades; `total` has one row, or none when nothing matches; `by` has DIMENSIONS as keys, its frames are
    ordered by `key`: first days of months, profiles' ids, strategies, symbols, sides, exit reasons.
    """
    wanted = {
        "p_from": filters.since and filters.since.isoformat(),
        "p_until": filters.until and filters.until.isoformat(),
        "p_profile_ids": list(filters.profile_ids) or None,
        "p_symbols": list(filters.symbols) or None,
        "p_sides": list(filters.sides) or None,
        "p_exit_reasons": list(filters.exit_reasons) or None,
    }
    rows = answered("trade_statistics", client, {name: value for name, value in wanted.items() if value})
    found = sorted(rows, key=lambda row: str(row["key"]))
    total = [row for row in found if row["dimension"] == "all"]
    return Statistics(
        total=frame(total, STATISTICS_COLUMNS),
        by={name: frame([row for row in found if row["dimension"] == name], STATISTICS_COLUMNS) for name in DIMENSIONS},
        bins=total[0]["bins"] if total else [0] * BINS,
    )
