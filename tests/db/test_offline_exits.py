"""Exits that were sent while the database could not be reached, told afterwards."""

import itertools
from decimal import Decimal
from uuid import uuid4

import pytest

from db import commands
from db.errors import Invalid, LeaseLost
from tests.db.conftest import BrokerOrder, Engine


def an_exit(held: BrokerOrder, **changes):
    """Return what the journal tells of an exit of the whole position that the broker has accepted."""
    exit_id = str(uuid4())
    return {
        "id": exit_id,
        "trade_id": str(held.id),
        "purpose": "exit",
        "qty": held.qty,
        "order_type": "market",
        "exit_reason": "stop_loss",
        "reason": "94 is through the stop 95",
        "market_at": "2007-01-03T16:00:00+00:00",
        "outcome": "accepted",
        "order": the_broker_says(exit_id, "accepted"),
    } | changes


def the_broker_says(exit_id, status, filled="0", price=None):
    return {
        "client_order_id": exit_id,
        "broker_order_id": f"broker-{exit_id}",
        "status": status,
        "filled_qty": filled,
        "filled_avg_price": price,
        "updated_at": "2007-01-03T16:01:00+00:00",
        "legs": [],
    }


def tell(engine: Engine, *exits):
    return commands.record_offline_exits(engine.client, shard=engine.shard, token=engine.token, exits=exits)


def books(db):
    """Return everything that a replay may change."""
    queries = (
        "select id::text, state::text, purpose::text, qty, filled_qty from orders order by id",
        "select order_id::text, qty, price from fills order by id",
        "select trade_id::text, qty from positions order by 1",
        "select reserved_usd, used_usd, realized_usd from profile_capital order by profile_id",
    )
    return [db.execute(query).fetchall() for query in queries]


class TestRecordOfflineExits:
    def test_the_order_appears_and_works_when_the_broker_has_accepted_it(self, engine, db):
        told = an_exit(engine.held())

        assert [answer.state for answer in tell(engine, told)] == ["working"]

        row = db.execute("select side::text, purpose::text, qty from orders where id = %s", [told["id"]]).fetchone()
        assert row == ("sell", "exit", 10)

    @pytest.mark.parametrize(("qty", "time_in_force"), [("4", "gtc"), ("2.5", "day")])
    def test_a_stop_for_a_part_of_a_share_was_for_the_day(self, engine, db, qty, time_in_force):
        stop = an_exit(engine.held(), purpose="stop_loss", order_type="stop", stop_price="95", qty=qty)

        tell(engine, stop)

        row = db.execute("select qty, time_in_force from orders where id = %s", [stop["id"]]).fetchone()
        assert row == (Decimal(qty), time_in_force)

    def test_the_position_is_closed_when_it_was_filled_meanwhile(self, engine, db):
        told = an_exit(engine.held())
        told["order"] = the_broker_says(told["id"], "filled", "10", "94")

        tell(engine, told)

        assert db.execute("select count(*) from positions").fetchone() == (0,)
        assert db.execute("select realized_pnl_usd, exit_reason from trades").fetchone() == (-60, "stop_loss")

    def test_nothing_more_changes_when_it_is_told_again_and_in_another_order(self, engine, db):
        held = engine.held()
        stop = an_exit(held, purpose="stop_loss", order_type="stop", stop_price="95", qty="4")
        exit_ = an_exit(held)
        exit_["order"] = the_broker_says(exit_["id"], "filled", "10", "94")
        tell(engine, stop, exit_)
        before = books(db)

        for again in itertools.permutations([stop, exit_, stop]):
            tell(engine, *again)

        assert books(db) == before

    @pytest.mark.parametrize(
        "came_to", [("rejected", None), ("accepted", "canceled"), ("accepted", "expired"), ("accepted", "rejected")]
    )
    def test_an_exit_that_waits_is_not_undone_by_one_that_came_to_nothing(self, engine, db, came_to):
        outcome, status = came_to
        held = engine.held()
        waiting = engine.exit(held.id)
        told = an_exit(held, outcome=outcome, order=None)
        told["order"] = status and the_broker_says(told["id"], status)

        for _ in range(2):
            tell(engine, told)

        assert [permit.id for permit in engine.claim()] == [waiting.id]
        state = db.execute("select private.is_terminal(state) from orders where id = %s", [told["id"]]).fetchone()
        assert state == (True,)

    @pytest.mark.parametrize("outcome", ["unknown", "accepted"])
    def test_an_exit_that_ended_undoes_nothing_when_it_is_told_as_it_was_before(self, engine, outcome):
        held = engine.held()
        told = an_exit(held)
        tell(engine, told)
        engine.update(the_broker_says(told["id"], "canceled"))
        waiting = engine.exit(held.id)

        tell(engine, told if outcome == "accepted" else {**told, "outcome": "unknown", "order": None})

        assert [permit.id for permit in engine.claim()] == [waiting.id]

    def test_an_exit_that_filled_a_part_and_ended_takes_the_place_of_one_that_waits_for_the_whole(self, engine, db):
        held = engine.held()
        waiting = engine.exit(held.id)
        told = an_exit(held)
        told["order"] = the_broker_says(told["id"], "canceled", "4", "94")

        tell(engine, told)

        assert engine.claim() == []
        assert db.execute("select code from orders where id = %s", [waiting.id]).fetchone() == ("SUPERSEDED",)
        assert db.execute("select qty from positions").fetchone() == (6,)

    def test_its_fate_is_looked_up_when_no_answer_came(self, engine):
        answers = tell(engine, an_exit(engine.held(), outcome="unknown", order=None))

        assert [answer.state for answer in answers] == ["unknown"]

    def test_it_is_over_when_no_answer_came_and_the_position_was_closed_meanwhile(self, engine, db):
        """Looked up in vain it would be sent again, and nothing is held any more."""
        held = engine.held()
        engine.update(held.leg("stop", "filled", filled=held.qty, price="95"))

        assert tell(engine, an_exit(held, outcome="unknown", order=None))[0].state == "canceled"

        assert engine.claim() == []

    def test_it_is_late_when_it_works_at_the_broker_and_the_position_was_closed_meanwhile(self, engine):
        held = engine.held()
        engine.update(held.leg("stop", "filled", filled=held.qty, price="95"))
        told = an_exit(held)

        assert tell(engine, told)[0].state == "canceled"

        assert engine.update(told["order"])[0].late

    def test_it_is_for_no_more_than_is_held_when_no_answer_came(self, engine, db):
        held = engine.held()
        engine.update(held.leg("stop", "partially_filled", filled="4", price="95"))
        told = an_exit(held, outcome="unknown", order=None)

        tell(engine, told)

        assert db.execute("select qty from orders where id = %s", [told["id"]]).fetchone() == (6,)

    def test_the_waiting_order_is_the_one_when_it_was_asked_for_before(self, engine, db):
        held = engine.held()
        told = an_exit(held)
        assert engine.exit(held.id, id=told["id"]).state == "ready"

        assert tell(engine, told)[0].state == "working"

        assert engine.claim() == []
        assert db.execute("select count(*) from orders where purpose = 'exit'").fetchone() == (1,)

    def test_a_waiting_exit_under_another_id_gives_way(self, engine):
        held = engine.held()
        waiting = engine.exit(held.id)

        tell(engine, an_exit(held))

        assert engine.exit(held.id, id=str(waiting.id)).state == "canceled"
        assert engine.claim() == []

    def test_it_is_late_when_another_exit_was_sent_meanwhile(self, engine):
        held = engine.held()
        engine.exit(held.id)
        engine.claim()
        told = an_exit(held)

        assert tell(engine, told)[0].state == "canceled"

        assert engine.update(told["order"])[0].late

    @pytest.mark.parametrize(
        "wrong",
        [
            {"qty": None},
            {"qty": "0"},
            {"order_type": None},
            {"outcome": "not_sent"},
            {"trade_id": str(uuid4())},
            {"id": "no uuid"},
        ],
    )
    def test_nothing_changes_when_one_of_them_is_malformed(self, engine, db, wrong):
        held = engine.held()
        before = books(db)

        with pytest.raises(Invalid):
            tell(engine, an_exit(held), an_exit(held, **wrong))

        assert books(db) == before

    def test_an_id_of_another_order_is_refused(self, engine):
        held = engine.held()

        with pytest.raises(Invalid, match="another order"):
            tell(engine, an_exit(held, id=str(engine.working("Bob trend hourly", symbol="IBM").id)))

    def test_a_stale_engine_is_refused(self, engine):
        told = an_exit(engine.held())
        engine.token -= 1

        with pytest.raises(LeaseLost):
            tell(engine, told)
