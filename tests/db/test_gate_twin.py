"""The gate in SQL and the gate in Python agree on every snapshot."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.domain.risk import GateSnapshot, gate_checks, gate_code

amounts = st.one_of(
    st.sampled_from([Decimal(0), Decimal(100), Decimal(1000), Decimal("99.995"), Decimal("25000")]),
    st.decimals(0, 50_000, places=2, allow_nan=False),
)
prices = st.one_of(st.sampled_from([Decimal(100), Decimal(95), Decimal(105)]), st.decimals("0.01", 500, places=2))
counts = st.integers(0, 12)


def or_unset(limits: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(limits, limits, limits, st.none())


# Narrow, overlapping ranges: most snapshots sit near a limit, where a wrong comparison shows.
snapshots = st.builds(
    GateSnapshot,
    mode=st.sampled_from(["RUNNING", "RUNNING", "RUNNING", "PAUSED", "HALTED"]),
    trading_mode=st.sampled_from(["paper", "paper", "live", "disabled"]),
    profile_active=st.sampled_from([True, True, True, False]),
    qty=amounts.filter(bool),
    limit_price=prices,
    reference_price=prices,
    notional_usd=amounts.filter(bool),
    unknown_orders=st.sampled_from([0, 0, 0, 1]),
    open_entries=st.sampled_from([0, 0, 0, 1]),
    open_orders=counts,
    positions=counts,
    position_notional_usd=amounts,
    capital_usd=amounts,
    reserved_usd=amounts,
    used_usd=amounts,
    order_qty_max=or_unset(amounts.filter(bool)),
    order_notional_max_usd=or_unset(amounts.filter(bool)),
    price_collar_pct=or_unset(st.sampled_from([Decimal("0.05"), Decimal("0.5"), Decimal(1)])),
    open_orders_max=or_unset(counts),
    positions_max=or_unset(counts),
    position_notional_max_usd=or_unset(amounts.filter(bool)),
)


def as_json(snapshot: GateSnapshot) -> str:
    return json.dumps({name: getattr(snapshot, name) for name in GateSnapshot.__slots__}, default=str)


def judged_in_sql(db: Any, batch: list[GateSnapshot]) -> list[tuple[list[bool], str | None]]:
    rows = db.execute(
        "select g.checks, private.gate_code(g.checks), g.inputs"
        " from unnest(%s::jsonb[]) with ordinality as s (snapshot, n)"
        " cross join lateral (select private.gate_checks(r) as checks, to_jsonb(r) as inputs"
        " from jsonb_populate_record(null::private.gate_snapshot, s.snapshot) r) g order by s.n",
        ([as_json(s) for s in batch],),
    ).fetchall()
    for snapshot, (_, _, inputs) in zip(batch, rows, strict=True):
        assert GateSnapshot.from_inputs(inputs) == snapshot, "a recorded snapshot must read back as it was"
    return [([check["passed"] for check in checks], code) for checks, code, _ in rows]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(snapshots, min_size=1, max_size=60))
def test_sql_and_python_gates_agree_on_every_snapshot(db, batch):
    for snapshot, (passed, code) in zip(batch, judged_in_sql(db, batch), strict=True):
        checks = gate_checks(snapshot)
        assert ([c.passed for c in checks], gate_code(checks)) == (passed, code), snapshot
