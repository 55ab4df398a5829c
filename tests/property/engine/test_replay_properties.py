"""Recorded decisions judged again: unchanged they answer as they did, and what differs feeds back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.exit_rules import ExitRules
from engine.domain.price_path import HORIZON_BARS, Ended, Path, Plan, PriceBar, follow
from engine.domain.replay import (
    Approvals,
    Change,
    Controls,
    Fate,
    Judged,
    RecordedDecision,
    RecordedEntry,
    replay,
)
from engine.domain.risk import GateSnapshot, gate_checks, gate_code
from engine.domain.risk_config import PortfolioRiskConfig
from engine.domain.what_if import what_if
from tests.db.test_gate_twin import PASSES, bent, snapshots

OPENED = datetime(2026, 1, 5, 15, tzinfo=UTC)
ASKING = PortfolioRiskConfig.from_db_json({"operator_approval": {"auto_approve_paper": False}})
quick = settings(deadline=None, max_examples=150)


def entry(snapshot: GateSnapshot, n: int = 0, **more: object) -> RecordedEntry:
    """An entry as the gate would have recorded it."""
    code = gate_code(gate_checks(snapshot))
    plan = Plan(is_long=True, qty=snapshot.qty or Decimal(1), limit_price=Decimal(100), stop_price=Decimal(95),
                target_price=Decimal(110), asked_at=OPENED + timedelta(minutes=n))  # fmt: skip
    told = RecordedEntry(
        id=f"{n:03}", owner_id="owner", profile_id="profile", symbol="AAPL", asked_at=OPENED + timedelta(seconds=n),
        plan=plan, decisions=(RecordedDecision(code=code, asked_a_person=False, snapshot=snapshot, config=None),),
        fate=Fate.PASSED if code is None else Fate.DENIED, code=code, result_usd=Decimal(7),
    )  # fmt: skip
    return replace(told, **more)  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> list[RecordedEntry]:
    """Entries of several profiles and symbols, as they were recorded."""
    found = draw(st.lists(st.one_of(bent(), snapshots), min_size=1, max_size=8))
    entries = []
    for n, snapshot in enumerate(found):
        told = entry(snapshot, n, profile_id=draw(st.sampled_from("PQ")), symbol=draw(st.sampled_from(["A", "B"])))
        if told.fate is Fate.PASSED:
            fate = draw(st.sampled_from([Fate.PASSED, Fate.PASSED, Fate.NOT_APPROVED, Fate.WAITS, Fate.WITHDRAWN]))
            asked = fate in (Fate.NOT_APPROVED, Fate.WAITS)
            code = draw(st.sampled_from(["TRADING_PAUSED", "SYMBOL_LOCKED"])) if fate is Fate.WITHDRAWN else None
            told = replace(told, fate=fate, code=code, decisions=(replace(told.decisions[0], asked_a_person=asked),))
        entries.append(told)
    return entries


def gained(result: int, *, until: datetime | None = None) -> Path:
    return Path(ended=Ended.TARGET, entry_at=OPENED, released_at=until, result_usd=Decimal(result))


@quick
@given(histories())
def test_unchanged_limits_reproduce_the_recorded_answers_exactly(entries: list[RecordedEntry]) -> None:
    found = what_if(entries, Change(), {e.id: gained(5) for e in entries})

    assert [(v.judged.fate, v.judged.code) for v in found.verdicts] == [(e.fate, e.code) for e in entries]
    assert not found.changed
    assert found.difference_usd == 0


@quick
@given(entries=histories(), capital=st.decimals(1, 100_000, places=2), limit=st.decimals(1, 100_000, places=2))
def test_whatever_is_changed_no_profile_passes_its_capital(
    entries: list[RecordedEntry], capital: Decimal, limit: Decimal
) -> None:
    change = Change(limits={"capital_usd": capital, "order_notional_max_usd": limit})

    for judged in replay(entries, change, {e.id: gained(5) for e in entries}):
        if judged.is_added:
            needed = next(c for c in judged.checks if c.name == "CAPITAL_INSUFFICIENT")
            assert needed.passed and needed.observed <= capital


@quick
@given(entries=histories())
def test_while_everything_is_paused_nothing_passes(entries: list[RecordedEntry]) -> None:
    assert not [j for j in replay(entries, Change(paused_throughout=True), {}) if j.fate is Fate.PASSED]


@quick
@given(snapshot=bent(), more=st.decimals(0, 50_000, places=2))
def test_a_looser_limit_denies_no_single_entry_that_passed(snapshot: GateSnapshot, more: Decimal) -> None:
    told = entry(snapshot)
    looser = Change(limits={"order_notional_max_usd": (snapshot.order_notional_max_usd or Decimal(0)) + more})

    (judged,) = replay([told], looser, {})

    assert told.fate is not Fate.PASSED or judged.fate is Fate.PASSED


def two_denied(**second: object) -> list[RecordedEntry]:
    """Two entries of 1,000 USD each, both denied for their size by a profile with a capital of 1,500."""
    small = replace(PASSES, order_notional_max_usd=Decimal(500), capital_usd=Decimal(1500))
    return [entry(small, 0), entry(small, 1, **{"symbol": "IBM"} | second)]


def fates(entries: list[RecordedEntry], paths: dict[str, Path], **change: object) -> list[tuple[Fate, str | None]]:
    judged: list[Judged] = replay(entries, Change(**change), paths)  # type: ignore[arg-type]
    return [(j.fate, j.code) for j in judged]


def test_an_entry_that_would_have_passed_takes_capital_from_the_next_one() -> None:
    held = {"000": gained(5), "001": gained(5)}

    found = fates(two_denied(), held, limits={"order_notional_max_usd": Decimal(2000)})

    assert found == [(Fate.PASSED, None), (Fate.DENIED, "CAPITAL_INSUFFICIENT")]


def test_it_gives_the_capital_back_when_its_path_has_ended() -> None:
    ended = {"000": gained(5, until=OPENED + timedelta(seconds=30)), "001": gained(5)}

    found = fates(two_denied(), ended, limits={"order_notional_max_usd": Decimal(2000)})

    assert found == [(Fate.PASSED, None), (Fate.PASSED, None)]


def test_what_is_held_for_days_goes_on_taking_capital() -> None:
    first, second = two_denied()
    later = replace(second, plan=replace(second.plan, asked_at=OPENED + timedelta(days=3)))

    found = fates([first, later], {"000": gained(5)}, limits={"order_notional_max_usd": Decimal(2000)})

    assert found[1] == (Fate.DENIED, "CAPITAL_INSUFFICIENT")


def test_it_takes_nothing_from_another_profile_but_counts_for_its_owner() -> None:
    held, wider = {"000": gained(5), "001": gained(5)}, {"order_notional_max_usd": Decimal(2000)}

    assert fates(two_denied(profile_id="other"), held, limits=wider)[1] == (Fate.PASSED, None)
    tight = wider | {"gross_max_pct": Decimal("0.06")}  # of 25,000: 1,500
    assert fates(two_denied(profile_id="other"), held, limits=tight)[1] == (Fate.DENIED, "GROSS_EXPOSURE")


def test_an_entry_that_would_not_have_passed_leaves_its_capital_to_the_next_one() -> None:
    first = entry(replace(PASSES, qty=Decimal(20)), 0)
    second = entry(replace(PASSES, capital_usd=Decimal(1500), reserved_usd=Decimal(1000)), 1, symbol="IBM")
    assert second.code == "CAPITAL_INSUFFICIENT"

    found = fates([first, second], {"001": gained(5)}, limits={"order_qty_max": Decimal(15)})

    assert found == [(Fate.DENIED, "ORDER_QTY_MAX"), (Fate.PASSED, None)]


def test_the_same_entry_is_not_asked_again_while_it_would_have_been_open() -> None:
    found = fates(two_denied(symbol="AAPL"), {"000": gained(5)}, limits={"order_notional_max_usd": Decimal(2000)})

    assert found[1] == (Fate.NOT_ASKED, None)


def test_an_open_position_more_counts_towards_the_limit_on_positions() -> None:
    wider = {"order_notional_max_usd": Decimal(2000), "capital_usd": Decimal(9000), "positions_max": 1}

    found = fates(two_denied(), {"000": gained(5), "001": gained(5)}, limits=wider)

    assert found == [(Fate.PASSED, None), (Fate.DENIED, "POSITIONS_MAX")]


def test_what_passes_anew_waits_for_a_person_where_one_has_to_approve() -> None:
    paused = entry(replace(PASSES, mode="PAUSED"))
    asking = replace(paused, decisions=(replace(paused.decisions[0], config=ASKING),))

    assert fates([asking], {}, pauses=Controls.NONE) == [(Fate.WAITS, None)]
    assert fates([asking], {}, pauses=Controls.NONE, approvals=Approvals.ALL) == [(Fate.PASSED, None)]
    assert fates([asking], {}, pauses=Controls.NONE, approvals=Approvals.NOBODY) == [(Fate.NOT_APPROVED, None)]
    assert fates([paused], {}, pauses=Controls.NONE) == [(Fate.PASSED, None)]


def test_lockouts_can_be_taken_away_and_added() -> None:
    locked = entry(replace(PASSES, locked_until="2026-01-05T16:00:00+00:00"))
    free = entry(PASSES)

    assert fates([locked], {}, lockouts=Controls.NONE) == [(Fate.PASSED, None)]
    assert fates([free], {}, locked_symbols=frozenset({"AAPL"})) == [(Fate.DENIED, "SYMBOL_LOCKED")]


def test_what_a_control_took_back_goes_on_without_it() -> None:
    paused = replace(entry(PASSES), fate=Fate.WITHDRAWN, code="TRADING_PAUSED")
    locked = replace(paused, code="SYMBOL_LOCKED")
    waiting = replace(paused, is_released=False)

    assert fates([paused], {}, pauses=Controls.NONE) == [(Fate.PASSED, None)]
    assert fates([paused], {}, lockouts=Controls.NONE) == [(Fate.WITHDRAWN, "TRADING_PAUSED")]
    assert fates([locked], {}, lockouts=Controls.NONE) == [(Fate.PASSED, None)]
    assert fates([waiting], {}, pauses=Controls.NONE) == [(Fate.WAITS, None)]
    assert fates([waiting], {}, pauses=Controls.NONE, approvals=Approvals.ALL) == [(Fate.PASSED, None)]


def test_the_difference_is_what_is_added_less_what_is_removed() -> None:
    denied = entry(replace(PASSES, qty=Decimal(200)), 0, symbol="IBM")  # 100 at most
    made = entry(replace(PASSES, limit_price=Decimal(104)), 1)
    change = Change(limits={"order_qty_max": Decimal(500), "price_collar_pct": Decimal("0.01")})

    found = what_if([denied, made], change, {"000": gained(30)})

    assert [v.effect_usd for v in found.verdicts] == [Decimal(30), Decimal(-7)]
    assert found.difference_usd == 23
    assert not found.unknown


DAY = timedelta(days=1)
cents = st.decimals("50", "150", places=2)


@st.composite
def bars_of(draw: st.DrawFn) -> list[PriceBar]:
    drawn = draw(st.lists(st.lists(cents, min_size=4, max_size=4), min_size=1, max_size=30))
    return [PriceBar(OPENED + n * DAY, p[0], max(p), min(p), p[3]) for n, p in enumerate(drawn)]


plans = st.builds(
    Plan, is_long=st.booleans(), qty=st.just(Decimal(10)), limit_price=cents, stop_price=st.one_of(st.none(), cents),
    target_price=st.one_of(st.none(), cents), asked_at=st.just(OPENED - DAY),
)  # fmt: skip


@quick
@given(plan=plans, bars=bars_of())
def test_nothing_is_bought_above_its_limit_nor_sold_short_below_it(plan: Plan, bars: list[PriceBar]) -> None:
    path = follow(plan, bars)

    if path.entry_price is not None and path.entry_at is not None:
        bar = next(b for b in bars if b.at == path.entry_at)
        assert bar.low <= path.entry_price <= bar.high
        assert path.entry_price <= plan.limit_price if plan.is_long else path.entry_price >= plan.limit_price
    else:
        assert path.result_usd == 0


@quick
@given(plan=plans, bars=bars_of())
def test_the_bars_before_it_was_asked_change_nothing(plan: Plan, bars: list[PriceBar]) -> None:
    asked_later = replace(plan, asked_at=bars[0].at)

    assert follow(asked_later, bars) == follow(asked_later, bars[1:])


def flat(bars: int) -> list[PriceBar]:
    return [PriceBar(OPENED + n * DAY, *[Decimal(100)] * 4) for n in range(bars)]


PATIENT = Plan(is_long=True, qty=Decimal(10), limit_price=Decimal(100), stop_price=Decimal(95),
               target_price=Decimal(110), asked_at=OPENED - DAY)  # fmt: skip


def test_an_entry_that_reaches_nothing_is_let_go_at_the_horizon_and_held_while_bars_are_missing() -> None:
    assert follow(PATIENT, flat(HORIZON_BARS + 5)).released_at == OPENED + (HORIZON_BARS - 1) * DAY
    assert follow(PATIENT, flat(HORIZON_BARS - 1)).released_at is None


def bar(n: int, opened: int, high: int, low: int, close: int) -> PriceBar:
    return PriceBar(OPENED + n * DAY, Decimal(opened), Decimal(high), Decimal(low), Decimal(close))


@pytest.mark.parametrize(
    ("second", "ended", "exit_price"),
    [
        (bar(1, 100, 112, 94, 100), Ended.STOP, 95),  # both in one bar: the stop counts
        (bar(1, 90, 92, 88, 91), Ended.STOP, 90),  # opens beyond the stop
        (bar(1, 115, 116, 114, 115), Ended.TARGET, 115),  # opens beyond the target
        (bar(1, 100, 110, 99, 105), Ended.TARGET, 110),
        (bar(1, 100, 104, 96, 103), Ended.OPEN, 103),
    ],
)
def test_an_entry_leaves_where_its_stop_or_target_is_reached(second: PriceBar, ended: Ended, exit_price: int) -> None:
    path = follow(PATIENT, [bar(0, 100, 120, 99, 100), second])

    assert (path.ended, path.exit_price) == (ended, exit_price)
    assert path.result_usd == (exit_price - 100) * 10


def test_a_holding_rule_closes_at_the_open_of_its_bar() -> None:
    path = follow(replace(PATIENT, rules=ExitRules(bars_held_max=2)), [*flat(2), bar(2, 101, 102, 100, 102)])

    assert (path.ended, path.exit_price) == (Ended.HELD, 101)
