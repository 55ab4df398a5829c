from decimal import Decimal

import pytest

from engine.domain.book import Purpose
from engine.domain.broker_types import AccountState, BrokerPosition
from engine.domain.reconcile import (
    Finding,
    FindingKind,
    LateOrder,
    compare_positions,
    find_account,
    find_late,
    find_missing,
    find_unprotected,
    held_by,
    lasting,
    may_adopt,
)
from tests.unit.engine.builders import a_leg, a_snapshot, a_trade, an_order, at_broker, protected_trade


def test_trades_of_a_symbol_are_summed_when_positions_are_compared() -> None:
    snapshot = a_snapshot(trades=(a_trade(trade_id="1"), a_trade(trade_id="2", side="short", qty=Decimal(4))))

    assert compare_positions(held_by(snapshot), [BrokerPosition("AAPL", Decimal(6))]) == []


def test_a_position_is_reported_when_only_one_side_has_it() -> None:
    ours = a_snapshot(trades=(a_trade(),))

    (only_ours,) = compare_positions(held_by(ours), [])
    (only_theirs,) = compare_positions({}, [BrokerPosition("IBM", Decimal(5))])

    assert only_ours.detail == {"ours": "10", "broker": "0"}
    assert only_theirs.key == "POSITION_MISMATCH:IBM"


def test_an_order_is_reported_missing_when_it_should_be_at_the_broker() -> None:
    snapshot = a_snapshot(orders=(an_order(), an_order(id="other")))

    assert [f.subject for f in find_missing(snapshot.orders, ["broker-entry"])] == ["entry"]


def test_a_position_is_reported_unprotected_when_no_stop_covers_all_of_it() -> None:
    half = a_trade(a_leg(Purpose.STOP_LOSS, qty=Decimal(5)), trade_id="half")
    fresh = a_trade(trade_id="fresh")  # its entry still fills
    entry = an_order(trade_id="fresh")
    snapshot = a_snapshot(trades=(protected_trade(), half, fresh), orders=(entry,))

    assert [f.subject for f in find_unprotected(snapshot)] == ["half"]


def test_a_gap_is_believed_when_two_looks_see_the_same_one() -> None:
    first = compare_positions({"AAPL": Decimal(5), "IBM": Decimal(1)}, [BrokerPosition("AAPL", Decimal(8))])
    moved = compare_positions({"AAPL": Decimal(6), "IBM": Decimal(1)}, [BrokerPosition("AAPL", Decimal(9))])
    filled = compare_positions({"AAPL": Decimal(5), "IBM": Decimal(1)}, [BrokerPosition("AAPL", Decimal(7))])

    assert [f.symbol for f in lasting(first, moved)] == ["AAPL", "IBM"]
    assert [f.symbol for f in lasting(first, filled)] == ["IBM"]


@pytest.mark.parametrize(
    ("side", "status", "filled", "gap", "expected"),
    [
        ("buy", "new", 0, 0, True),  # it works: it will make a gap
        ("buy", "filled", 5, 5, True),
        ("buy", "filled", 5, 8, True),  # part of the gap
        ("buy", "filled", 5, 3, False),  # more than the gap: something else has happened as well
        ("buy", "filled", 5, -5, False),
        ("sell", "filled", 5, -5, True),
        ("buy", "canceled", 0, 5, False),
        ("buy", "canceled", 2, 5, True),  # what it filled counts, however it ended
    ],
)
def test_an_external_order_may_be_adopted_when_it_works_or_explains_a_gap(
    side: str, status: str, filled: int, gap: int, expected: bool
) -> None:
    order = at_broker(an_order(), side=side, status=status, filled_qty=Decimal(filled))

    assert may_adopt(order, Decimal(gap)) is expected


@pytest.mark.parametrize(
    ("state", "fenced", "kinds"),
    [
        (AccountState(), False, []),
        (AccountState(("trading_blocked",)), False, ["ACCOUNT_BLOCKED"]),
        (AccountState(("account_blocked",), True), True, ["ACCOUNT_BLOCKED"]),
        (AccountState((), True), False, ["TRADING_SUSPENDED"]),
        (AccountState((), True), True, []),  # our own fence
    ],
)
def test_an_account_that_may_not_trade_is_reported(state: AccountState, fenced: bool, kinds: list[str]) -> None:
    assert [f.kind for f in find_account(state, fenced=fenced)] == kinds


def test_a_late_entry_after_a_pause_is_told_from_one_without() -> None:
    late = find_late([LateOrder(at_broker(an_order()), after_pause=after) for after in (True, False)])

    assert [f.kind for f in late] == ["ENTRY_AFTER_PAUSE", "LATE_ORDER"]


def test_every_kind_of_finding_says_how_bad_it_is_and_what_to_do() -> None:
    for kind in FindingKind:
        finding = Finding(kind=kind, subject="x", symbol=None)
        assert finding.severity and finding.advice.endswith(".")
