from decimal import Decimal

from engine.domain.book import Purpose
from engine.domain.broker_types import BrokerPosition
from engine.domain.reconcile import compare_positions, find_missing, find_unprotected, held_by
from tests.unit.engine.builders import a_leg, a_snapshot, a_trade, an_order, protected_trade


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
