"""Stops of open trades: never more than is held, moved in place of each other, given way to exits."""

import pytest

from db import commands
from db.errors import Invalid
from tests.db.conftest import BrokerOrder


@pytest.fixture
def held(engine) -> BrokerOrder:
    """Ten shares, their bracket at the broker."""
    return engine.held()


@pytest.fixture
def naked(engine, held) -> BrokerOrder:
    """Ten shares whose bracket was cancelled by hand."""
    for kind in ("limit", "stop"):
        engine.update(held.leg(kind, "canceled"))
    return held


def stop(engine, trade, **more):
    request = {"purpose": "stop_loss", "order_type": "stop", "stop_price": "95", "exit_reason": "stop_loss"}
    return engine.exit(trade.id, **request | more)


def cancel(engine, order_id, reason="because"):
    return commands.request_cancels(
        engine.client, shard="main", token=engine.token, requests=[{"id": str(order_id), "reason": reason}]
    )


def row(db, order_id, columns):
    return db.execute(f"select {columns} from orders where id = %s", (order_id,)).fetchone()


def says(order, status, **more):
    """Return what the broker says of a stop of ours."""
    return {
        "client_order_id": str(order.id), "broker_order_id": f"at-broker-{order.id}", "status": status,
        "symbol": order.symbol, "side": "sell", "qty": str(order.qty), "type": "stop", "filled_qty": "0",
        "filled_avg_price": None, "updated_at": "2007-01-03T16:30:00+00:00", "legs": [],
    } | more  # fmt: skip


class TestCoverage:
    def test_a_covered_position_gets_no_second_stop(self, engine, held):
        answer = stop(engine, held)

        assert (answer.state, answer.code) == ("denied", "ALREADY_PROTECTED")

    @pytest.mark.parametrize("status", ["canceled", "expired", "rejected", "replaced"])
    def test_a_position_counts_as_naked_however_its_legs_have_gone(self, engine, held, status):
        for kind in ("limit", "stop"):
            engine.update(held.leg(kind, status))

        assert stop(engine, held).state == "ready"

    def test_a_naked_position_gets_one_stop_and_no_second(self, engine, naked):
        assert stop(engine, naked).state == "ready"
        assert stop(engine, naked).code == "ALREADY_PROTECTED"

    def test_a_stop_is_cut_down_to_what_is_not_covered(self, engine, naked, db):
        stop(engine, naked, qty="4")

        rest = stop(engine, naked, qty="10")

        assert row(db, rest.id, "qty, time_in_force") == (6, "gtc")

    def test_a_target_that_rests_alone_leaves_nothing_to_sell_again(self, engine, held):
        engine.update(held.leg("stop", "canceled"))

        assert stop(engine, held).code == "ALREADY_PROTECTED"

    def test_a_stop_for_a_part_of_a_share_is_for_the_day_only(self, engine, naked, db):
        assert row(db, stop(engine, naked, qty="0.5").id, "time_in_force") == ("day",)


class TestExitsAndStops:
    def test_an_exit_takes_the_place_of_a_stop_that_was_not_sent(self, engine, naked, db):
        waiting = stop(engine, naked)

        assert engine.exit(naked.id).state == "ready"

        assert row(db, waiting.id, "state::text") == ("canceled",)

    def test_no_stop_is_placed_while_an_exit_is_under_way(self, engine, naked):
        engine.exit(naked.id)

        assert stop(engine, naked).code == "DUPLICATE_ORDER"

    def test_exits_of_two_trades_in_one_symbol_stay_apart(self, engine):
        mine, other = engine.held(), engine.held("Bob dips daily")

        assert engine.exit(mine.id).state == engine.exit(other.id).state == "ready"
        assert engine.exit(mine.id).code == "DUPLICATE_ORDER"


class TestMovedStops:
    def test_a_stop_is_moved_in_place_of_a_bracket_leg_and_stays_in_its_group(self, engine, held, db):
        moved = stop(engine, held, stop_price="97", replaces_broker_id=held.stop_id)

        found = row(db, moved.id, "qty, stop_price, parent_id, replaces_broker_id")
        assert found == (10, 97, held.id, held.stop_id)

    def test_one_move_at_a_time(self, engine, held):
        stop(engine, held, replaces_broker_id=held.stop_id)

        assert stop(engine, held, replaces_broker_id=held.stop_id).code == "STOP_GONE"

    def test_what_no_longer_rests_is_not_moved(self, engine, naked):
        assert stop(engine, naked, replaces_broker_id=naked.stop_id).code == "STOP_GONE"

    def test_another_trades_stop_is_not_moved(self, engine, held):
        other = engine.held("Bob dips daily")

        assert stop(engine, held, replaces_broker_id=other.stop_id).code == "STOP_GONE"

    def test_both_are_counted_once_until_the_broker_has_swapped_them(self, engine, held, db):
        reserved = "select private.reserved_by_legs(%s)"
        moved = stop(engine, held, replaces_broker_id=held.stop_id)
        assert db.execute(reserved, (held.id,)).fetchone() == (10,)

        (claimed,) = [order for order in engine.claim() if order.id == moved.id]
        engine.record(claimed.id, "accepted", order=says(claimed, "held"))
        engine.update(held.leg("stop", "replaced"))

        assert db.execute(reserved, (held.id,)).fetchone() == (10,)
        assert row(db, claimed.id, "state::text") == ("working",)

    def test_a_stop_of_ours_that_is_being_moved_is_counted_once(self, engine, naked, db):
        answer = stop(engine, naked, qty="6")
        (placed,) = [order for order in engine.claim() if order.id == answer.id]
        engine.record(placed.id, "accepted", order=says(placed, "new"))

        moved = stop(engine, naked, stop_price="97", replaces_broker_id=f"at-broker-{placed.id}")

        assert row(db, moved.id, "qty, parent_id") == (6, None)
        assert db.execute("select private.reserved_by_legs(%s)", (naked.id,)).fetchone() == (6,)

    def test_only_a_stop_can_take_a_stops_place(self, engine, held):
        with pytest.raises(Invalid, match="only a stop"):
            engine.exit(held.id, replaces_broker_id=held.stop_id)


class TestCancels:
    def test_what_rests_at_the_broker_is_asked_back_with_the_reason(self, engine, held, db):
        leg = db.execute("select id from orders where broker_order_id = %s", (held.stop_id,)).fetchone()[0]

        assert cancel(engine, leg, "one too many") == 1

        assert row(db, leg, "state::text, reason, cancel_requested_at is not null") == ("working", "one too many", True)
        assert cancel(engine, leg) == 0  # asked for once

    def test_what_was_not_sent_ends_at_once(self, engine, naked, db):
        waiting = stop(engine, naked)

        assert cancel(engine, waiting.id) == 1

        assert row(db, waiting.id, "state::text") == ("canceled",)

    @pytest.mark.parametrize("request_", [{"id": "no id", "reason": "x"}, {"id": None, "reason": "x"}])
    def test_a_request_without_an_order_or_a_reason_is_refused(self, engine, held, request_):
        with pytest.raises(Invalid, match="the id of an order and the reason"):
            commands.request_cancels(engine.client, shard="main", token=engine.token, requests=[request_])
        with pytest.raises(Invalid, match="the id of an order and the reason"):
            cancel(engine, held.id, " ")
