"""Reconciliation of a long history: the whole of it, and then only what is new, in a process of its own."""

import resource
import tempfile
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.engine_process import main, run_engine
from bench.exchange import running
from bench.harness import Bench, Row
from engine.bootstrap import Engine
from local.exchange.market.tape import load_tape
from local.exchange.trading.exchange import Birth, open_exchange

ORDERS, BATCH, STALE = 100_000, 1_000, 500  # so many of our books' rows are out of date
TICKS = 3  # of the market, between one batch and the next
FULL_S_MAX, MEMORY_MB_MAX = 12, 300
INCREMENTAL_SHARE_MAX = 0.05  # of the full one's time
SHARD = "bench-reconcile"
COLUMNS = (
    "id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, limit_price, state,"
    " trade_id, broker_order_id, broker_status, market_at, ended_at"
)


def measured(bench: Bench) -> list[Row]:
    """Fill the exchange's ledger and our books with the same orders, and let an engine compare them."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write_books(bench, _write_ledger(home / "exchange" / "ledger.sqlite"))
        with running(home) as exchange:
            found = run_engine("bench.reconcile", bench, exchange.url, home, SHARD)
    full_s, incremental_s, memory_mb = found["full_s"], found["incremental_s"], found["memory_mb"]
    is_whole = found["checked"] == ORDERS and found["changed"] == STALE and found["left"] == 0
    return [
        Row(
            what=f"full reconcile of {ORDERS:,} orders, no rate limit",
            measured=f"{full_s:.1f} s, {memory_mb:.0f} MB",
            target=f"<= {FULL_S_MAX} s, <= {MEMORY_MB_MAX} MB",
            detail=f"{found['checked']:,} compared, {found['changed']} of {STALE} stale ones taken over",
            reached=is_whole and full_s <= FULL_S_MAX and memory_mb <= MEMORY_MB_MAX,
        ),
        Row(
            what="incremental reconcile after it",
            measured=f"{incremental_s * 1000:.0f} ms",
            target=f"<= {INCREMENTAL_SHARE_MAX:.0%} of the full one",
            detail=f"{found['incremental_checked']} orders compared",
            reached=incremental_s <= INCREMENTAL_SHARE_MAX * full_s,
        ),
    ]


def _write_ledger(path: Path) -> list[tuple[str, str]]:
    """Place and cancel orders at the exchange; return their ids, ours and the exchange's."""
    exchange, ids = open_exchange(path, load_tape(), Birth(seed=7, start=date(2007, 1, 3))), []
    order = {"symbol": "AAPL", "qty": Decimal(1), "side": "buy", "type": "limit", "limit_price": Decimal(1)}
    try:
        for _ in range(ORDERS // BATCH):
            with exchange.ledger.transaction():
                for _ in range(BATCH):
                    own = str(uuid4())
                    placed = exchange.submit(order | {"time_in_force": "day", "client_order_id": own})
                    exchange.cancel(placed.id)
                    ids.append((own, placed.id))
            exchange.step(TICKS)  # a history has its orders at different times
    finally:
        exchange.ledger.store.close()
    return ids


def _write_books(bench: Bench, ids: list[tuple[str, str]]) -> None:
    """Write the same orders into our books; the last ones are still working there."""
    row = bench.db.execute(
        "insert into profiles (owner_id, name, strategy, symbols, shard, capital_usd, active)"
        " select user_id, 'bench reconcile', 'bench', '{AAPL}', %s, 1000000, false from members limit 1"
        " returning owner_id, id",
        (SHARD,),
    ).fetchone()
    assert row is not None
    with bench.db.cursor().copy(f"copy orders ({COLUMNS}) from stdin") as copy:  # type: ignore[arg-type]
        for n, (own, theirs) in enumerate(ids):
            is_stale = n >= len(ids) - STALE
            state, status = ("working", "new") if is_stale else ("canceled", "canceled")
            copy.write_row((own, *row, SHARD, "AAPL", "sell", "long", "exit", 1, "limit", 1, state, own, theirs, status,
                            "2007-01-03T14:00:00Z", None if is_stale else "2007-01-03T15:00:00Z"))  # fmt: skip
    bench.db.execute("analyze orders")


def _engine(engine: Engine) -> dict[str, Any]:
    """Reconcile as an engine does, in full and then incrementally; return what that took."""
    market = engine.market.read()
    full_s = _seconds(lambda: engine.reconciler.run(market, "full", on_page=lambda: engine.lease.beat(market)))
    engine.lease.beat(market)
    swept = engine.reconciler.last
    incremental_s = _seconds(lambda: engine.reconciler.run(market, "incremental"))
    again = engine.reconciler.last
    assert swept is not None and again is not None
    return {
        "full_s": full_s,
        "incremental_s": incremental_s,
        "checked": swept.orders_checked,
        "changed": swept.orders_changed,
        "incremental_checked": again.orders_checked,
        "left": len(engine.book.read().orders),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(_engine)
