"""The books against their own facts: what the tables say, and what the fills alone say."""

from decimal import Decimal

import psycopg

from engine.domain.book import Purpose
from engine.domain.broker_types import Split
from engine.domain.recompute import Fill, TradeSums, recompute

# Postgres divides to sixteen significant digits or more; beyond them a rounding may differ.
TOLERANCE_USD = Decimal("0.00000001")


def differences(db: psycopg.Connection) -> list[str]:
    """Return where the tables of trades, positions and capital differ from what the fills add up to."""
    trades = recompute(_fills(db), _splits(db))
    return [*_of_trades(db, trades), *_of_positions(db, trades), *_of_capital(db, trades)]


def _of_trades(db: psycopg.Connection, expected: dict[str, TradeSums]) -> list[str]:
    rows = db.execute(
        "select id::text, profile_id::text, symbol, position_side::text = 'long', qty_entered, entry_notional_usd,"
        " qty_exited, exit_notional_usd, opened_at, closed_at, realized_pnl_usd from trades"
    ).fetchall()
    found = [f"trades {row[0]} is made of no fill" for row in rows if row[0] not in expected]
    found += [f"trade {id} is missing" for id in expected.keys() - {row[0] for row in rows}]
    for row in rows:
        if (sums := expected.get(row[0])) is None:
            continue
        want = (sums.profile_id, sums.symbol, sums.is_long, sums.qty_entered, sums.entry_notional_usd, sums.qty_exited,
                sums.exit_notional_usd, sums.opened_at, sums.closed_at)  # fmt: skip
        if row[1:10] != want or abs(row[10] - sums.realized_pnl_usd) > TOLERANCE_USD:
            found.append(f"trade {row}, and its fills say {want} {sums.realized_pnl_usd}")
    return found


def _of_positions(db: psycopg.Connection, expected: dict[str, TradeSums]) -> list[str]:
    rows = db.execute("select trade_id::text, qty, cost_usd, avg_entry_price from positions").fetchall()
    open_trades = {id: sums for id, sums in expected.items() if sums.qty_open > 0}
    found = [f"positions differ: {sorted(open_trades.keys() ^ {row[0] for row in rows})}"]
    if open_trades.keys() == {row[0] for row in rows}:
        found = []
    for id, qty, cost_usd, avg_entry_price in rows:
        sums = expected[id]
        average = sums.entry_notional_usd / sums.qty_entered
        if (
            qty != sums.qty_open
            or abs(cost_usd - sums.cost_usd) > TOLERANCE_USD
            or abs(avg_entry_price - average) > TOLERANCE_USD
        ):
            found.append(f"position {id} {qty} {cost_usd}, and its fills say {sums.qty_open} {sums.cost_usd}")
    return found


def _of_capital(db: psycopg.Connection, expected: dict[str, TradeSums]) -> list[str]:
    found = []
    for profile, used, realized in db.execute("select profile_id::text, used_usd, realized_usd from profile_capital"):
        own = [sums for sums in expected.values() if sums.profile_id == profile]
        want = sum((sums.cost_usd for sums in own), Decimal(0)), sum((s.realized_pnl_usd for s in own), Decimal(0))
        if abs(used - want[0]) > TOLERANCE_USD * (1 + len(own)) or abs(realized - want[1]) > TOLERANCE_USD * (
            1 + len(own)
        ):
            found.append(f"capital of {profile}: {used} used, {realized} realized, and the fills say {want}")
    return found


def _fills(db: psycopg.Connection) -> list[Fill]:
    rows = db.execute(
        "select trade_id::text, profile_id::text, symbol, side::text, purpose::text, qty, price, executed_at"
        " from fills order by id"
    ).fetchall()
    names = ("trade_id", "profile_id", "symbol", "side", "purpose", "qty", "price", "executed_at")
    return [Fill(**dict(zip(names, row, strict=True)) | {"purpose": Purpose(row[4])}) for row in rows]


def _splits(db: psycopg.Connection) -> list[Split]:
    return [Split(*row) for row in db.execute("select symbol, ratio, effective_at from splits").fetchall()]
