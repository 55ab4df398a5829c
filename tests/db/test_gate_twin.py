"""The gate in SQL and the gate in Python agree: on every snapshot, every approval rule, every configuration.

TWIN_EXAMPLES sets how many snapshots are compared.
"""

import json
import os
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.domain.risk import GateSnapshot, approval_reasons, gate_checks, gate_code
from engine.domain.risk_config import PortfolioRiskConfig, TradingMode, requires_approval

EXAMPLES = int(os.environ.get("TWIN_EXAMPLES", "2000"))
quick = settings(deadline=None, suppress_health_check=list(HealthCheck))

amounts = st.one_of(
    st.sampled_from([Decimal(0), Decimal(100), Decimal(1000), Decimal("99.995"), Decimal("25000")]),
    st.decimals(0, 50_000, places=2, allow_nan=False),
)
prices = st.one_of(st.sampled_from([Decimal(100), Decimal(95), Decimal(105)]), st.decimals("0.01", 500, places=2))
counts = st.integers(0, 12)
fractions = st.sampled_from([Decimal("0.05"), Decimal("0.25"), Decimal("0.5"), Decimal(1)])
ages = st.decimals(-2, 400, places=3)
CODES = ["SYMBOL_LOCKED", "ORDER_QTY_MAX", "PRICE_COLLAR", "DAILY_LOSS", "ORDER_RATE", "MARKET_CLOSED"]


def rarely(unusual: Any, usual: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * 12 + [unusual])


def or_unset(limits: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*[limits] * 9, st.none())


# Narrow, overlapping ranges: most snapshots sit near a limit, where a wrong comparison shows. What fails
# outright is rare, so that the checks behind it get their turn as the first to fail.
snapshots = st.builds(
    GateSnapshot,
    mode=st.sampled_from(["RUNNING"] * 12 + ["PAUSED", "HALTED"]),
    trading_mode=st.sampled_from(["paper"] * 6 + ["live"] * 6 + ["disabled"]),
    profile_active=rarely(False, True),
    locked_until=rarely("2026-01-05T15:00:00+00:00", None),
    signal_age_bars=st.one_of(st.none(), st.decimals(-2, 6, places=4)),
    quote_age_s=st.one_of(*[ages] * 9, st.none()),
    unknown_orders=rarely(1, 0),
    breaks=rarely(1, 0),
    open_entries=rarely(1, 0),
    stage_fraction=st.sampled_from([None, Decimal("0.2500")]),
    qty=amounts,
    limit_price=prices,
    reference_price=prices,
    notional_usd=amounts,
    open_orders=counts,
    positions=counts,
    position_notional_usd=amounts,
    sector=st.sampled_from(["technology", "other"]),
    sector_exposure_usd=amounts,
    gross_exposure_usd=amounts,
    owner_capital_usd=amounts,
    capital_usd=amounts,
    reserved_usd=amounts,
    used_usd=amounts,
    orders_last_minute=counts,
    orders_last_day=counts,
    repeats=counts,
    daily_loss_usd=amounts,
    drawdown_pct=st.one_of(*[fractions] * 9, st.none()),
    loss_streak=counts,
    crosses_own_order=rarely(True, False),
    market_open=st.sampled_from([True, False, None]),
    first_trade=st.sampled_from([True, False, None]),
    staged=st.booleans(),
    overrides=st.one_of(st.none(), st.none(), st.lists(st.sampled_from(CODES), min_size=1, max_size=6).map(tuple)),
    order_qty_max=or_unset(amounts.filter(bool)),
    order_notional_max_usd=or_unset(amounts.filter(bool)),
    price_collar_pct=or_unset(fractions),
    signal_bars_max=or_unset(st.just(Decimal(4))),
    quote_age_max_s=or_unset(st.just(Decimal(300))),
    open_orders_max=or_unset(counts),
    positions_max=or_unset(counts),
    position_notional_max_usd=or_unset(amounts.filter(bool)),
    sector_max_pct=or_unset(fractions),
    gross_max_pct=or_unset(fractions),
    orders_per_minute_max=or_unset(counts),
    orders_per_day_max=or_unset(counts),
    repeats_max=or_unset(counts.filter(bool)),
    daily_loss_max_pct=or_unset(fractions),
    drawdown_max_pct=or_unset(fractions),
    loss_streak_max=or_unset(counts.filter(bool)),
    entries_when_closed=or_unset(st.booleans()),
)


# A snapshot that passes every check, to be bent in one or two places: whichever check is the first
# to fail, the ones before it have passed.
PASSES = GateSnapshot(
    mode="RUNNING", trading_mode="paper", profile_active=True, quote_age_s=Decimal(1), unknown_orders=0, breaks=0,
    open_entries=0, qty=Decimal(10), limit_price=Decimal(100), reference_price=Decimal(100), notional_usd=Decimal(1000),
    open_orders=0, positions=0, position_notional_usd=Decimal(0), sector="other", sector_exposure_usd=Decimal(0),
    gross_exposure_usd=Decimal(0), owner_capital_usd=Decimal(25000), capital_usd=Decimal(25000),
    reserved_usd=Decimal(0), used_usd=Decimal(0), orders_last_minute=0, orders_last_day=0, repeats=0,
    daily_loss_usd=Decimal(0), drawdown_pct=Decimal(0), loss_streak=0, crosses_own_order=False, market_open=True,
    order_qty_max=Decimal(100), order_notional_max_usd=Decimal(25000), price_collar_pct=Decimal("0.05"),
    signal_bars_max=Decimal(4), quote_age_max_s=Decimal(300), open_orders_max=5, positions_max=5,
    position_notional_max_usd=Decimal(25000), sector_max_pct=Decimal(1), gross_max_pct=Decimal(1),
    orders_per_minute_max=10, orders_per_day_max=10, repeats_max=10, daily_loss_max_pct=Decimal("0.05"),
    drawdown_max_pct=Decimal("0.25"), loss_streak_max=6, entries_when_closed=True,
)  # fmt: skip


@st.composite
def bent(draw: st.DrawFn) -> GateSnapshot:
    other = draw(snapshots)
    names = draw(st.lists(st.sampled_from(GateSnapshot.__slots__), min_size=0, max_size=2, unique=True))
    kept = {name: getattr(other if name in names else PASSES, name) for name in GateSnapshot.__slots__}
    return GateSnapshot(**kept)


def as_json(snapshot: GateSnapshot) -> str:
    return json.dumps({name: getattr(snapshot, name) for name in GateSnapshot.__slots__}, default=str)


def judged_in_sql(db: Any, snapshot: GateSnapshot) -> tuple[list[tuple[str, bool]], str | None]:
    checks, code, inputs = db.execute(
        "select private.gate_checks(r, v.passed), v.code, to_jsonb(r)"
        " from jsonb_populate_record(null::private.gate_snapshot, %s) r"
        " cross join lateral private.judge(r, null::private.gate_limits) v",
        (as_json(snapshot),),
    ).fetchone()
    assert GateSnapshot.from_inputs(inputs) == snapshot, "a recorded snapshot must read back as it was"
    return [(check["name"], check["passed"]) for check in checks], code


@settings(quick, max_examples=EXAMPLES)
@given(snapshot=st.one_of(snapshots, bent()))
def test_sql_and_python_gates_agree_on_every_snapshot(db, snapshot):
    checks = gate_checks(snapshot)

    assert judged_in_sql(db, snapshot) == ([(c.name, c.passed) for c in checks], gate_code(checks))


def test_a_snapshot_that_keeps_every_limit_passes_every_check(db):
    passed, code = judged_in_sql(db, PASSES)

    assert all(ok for _, ok in passed) and code is None


usd = st.sampled_from([None, "100", "1000", "25000.5"])
approvals = st.fixed_dictionaries(
    {},
    optional={
        "auto_approve_paper": st.booleans(),
        "require_approval_for_live": st.booleans(),
        "notional_above_usd": usd,
        "first_trade_in_symbol": st.booleans(),
        "off_hours": st.booleans(),
        "after_loss_streak": st.one_of(st.none(), st.integers(1, 12)),
    },
)


@settings(quick, max_examples=300)
@given(approval=approvals, snapshot=snapshots)
def test_sql_and_python_ask_for_approval_for_the_same_reasons(db, approval, snapshot):
    config = {"operator_approval": approval}

    reasons, asks = db.execute(
        "select private.approval_reasons(c, r), private.asks_approval(r, private.gate_limits_of(c))"
        " from (values (%s::jsonb)) v (c), jsonb_populate_record(null::private.gate_snapshot, %s) r",
        (json.dumps(config), as_json(snapshot)),
    ).fetchone()

    assert asks is bool(reasons)
    assert reasons == approval_reasons(PortfolioRiskConfig.from_db_json(config), snapshot)


@settings(quick, max_examples=100)
@given(approval=approvals, mode=st.sampled_from(TradingMode))
def test_sql_and_python_agree_on_the_rule_by_trading_mode(db, approval, mode):
    config = {"operator_approval": approval}

    (asked,) = db.execute("select private.requires_approval(%s, %s)", (json.dumps(config), str(mode))).fetchone()

    assert asked == requires_approval(PortfolioRiskConfig.from_db_json(config), mode)


# What people and programs write where a number or a switch belongs.
written = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2_000_000),
    st.sampled_from([0, 1, 10**9, 10**9 + 1, 10**12 + 1, 86400, 86401]),
    st.decimals(0, 2, places=3).map(float),
    st.sampled_from(["", "0", "1", "05", "1e3", "+1", " 1", "1.", ".5", "0.50", "NaN", "Infinity", "1_000", "true"]),
    st.just([]), st.just({}), st.text(max_size=4),
)  # fmt: skip


@pytest.fixture(scope="module")
def paths(db):
    return [tuple(p.split(".")) for (p,) in db.execute("select path from private.risk_bounds()").fetchall()]


@settings(quick, max_examples=400)
@given(data=st.data())
def test_sql_and_python_accept_the_same_configurations(db, paths, data):
    section, key = data.draw(st.sampled_from(paths))
    content = data.draw(st.one_of(*[written.map(lambda value: {key: value})] * 9, written))
    config = json.loads(json.dumps({section: content}).replace("\\u0000", ""))

    (error,) = db.execute("select private.risk_config_error(%s)", (json.dumps(config),)).fetchone()
    try:
        PortfolioRiskConfig.from_db_json(config)
        accepted = True
    except ValidationError:
        accepted = False

    assert accepted == (error is None), (config, error)


def test_every_key_of_the_python_model_has_its_bounds_in_sql(db, paths):
    known = {
        (section, key)
        for section, field in PortfolioRiskConfig.model_fields.items()
        for key in field.annotation.model_fields
    }

    assert set(paths) == known - {("sector_exposure", "sectors")}


def test_the_shipped_default_is_valid_and_sets_every_limit(db):
    (config,) = db.execute("select private.default_risk_config()").fetchone()

    assert db.execute("select private.risk_config_error(private.default_risk_config())").fetchone() == (None,)
    read = PortfolioRiskConfig.from_db_json(config)
    unset = [
        f"{section}.{key}"
        for section in PortfolioRiskConfig.model_fields
        if section not in ("operator_approval", "retention")
        for key, value in getattr(read, section)
        if value is None
    ]
    assert unset == []
