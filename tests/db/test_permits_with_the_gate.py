"""An entry that passes the gate may be sent at once: its permit comes with the answer, under the rules of a claim."""

from datetime import timedelta

import psycopg
import pytest

from db import commands
from db.errors import AuthorityError
from tests.db.test_guards import ALICE, meanwhile, member, transaction_of
from tests.db.test_version_gate import beat


def events(db: psycopg.Connection, order_id: object) -> list[tuple[str | None, str]]:
    query = "select from_state::text, to_state::text from order_events where order_id = %s order by id"
    return db.execute(query, (order_id,)).fetchall()


def test_an_entry_that_passes_comes_back_with_its_permit(engine, db):
    (answer,) = engine.ask(engine.entry(), permits=1)

    assert (answer.state, answer.code) == ("submitting", None)
    assert (answer.permit.id, answer.permit.state, answer.permit.permit_token) == (
        answer.id,
        "submitting",
        engine.token,
    )
    assert answer.permit.permit_deadline - answer.permit.submitted_at == timedelta(seconds=10)
    assert events(db, answer.id) == [(None, "submitting")]
    assert engine.claim() == []
    holder = db.execute("select claimed_by from orders where id = %s", (answer.id,)).fetchone()
    assert holder == db.execute("select holder from engine_leases where shard = 'main'").fetchone()


def test_a_permit_with_the_gate_is_recorded_as_a_claimed_one_is(engine):
    (answer,) = engine.ask(engine.entry(), permits=1)

    assert engine.record(answer.id, "not_sent", code="TRADING_PAUSED").state == "canceled"


def test_the_decision_on_record_is_the_gates_whether_or_not_it_was_sent_at_once(engine, db):
    asked = engine.ask(engine.entry(), engine.entry(symbol="MSFT"), permits=1)

    outcomes = db.execute("select order_id, outcome::text, code from decisions order by id").fetchall()

    assert outcomes == [(answer.id, "ready", None) for answer in asked]


def test_permits_are_issued_for_the_first_requests_of_a_call_and_the_rest_can_be_claimed(engine):
    asked = [engine.entry(symbol=symbol) for symbol in ("AAPL", "MSFT", "IBM")]

    answers = engine.ask(*asked, permits=2)

    assert [answer.state for answer in answers] == ["submitting", "submitting", "ready"]
    assert [answer.permit is not None for answer in answers] == [True, True, False]
    assert [order.id for order in engine.claim()] == [answers[2].id]


@pytest.mark.parametrize("permits", [0, 1])
def test_nothing_is_answered_when_nothing_was_asked(engine, permits):
    assert engine.ask(permits=permits) == []


@pytest.mark.parametrize("permits", [0, -1])
def test_none_is_issued_when_none_was_asked_for(engine, permits):
    (answer,) = engine.ask(engine.entry(), permits=permits)

    assert (answer.state, answer.permit) == ("ready", None)


def test_what_is_denied_or_waits_for_a_person_gets_none(engine, db, sign_in):
    commands.update_approval_config(sign_in("admin"), patch={"auto_approve_paper": False})

    answers = engine.ask(engine.entry(), engine.entry(symbol="MSFT", qty="1000000"), permits=9)

    assert [answer.state for answer in answers] == ["awaiting_approval", "denied"]
    assert [answer.permit for answer in answers] == [None, None]
    assert db.execute("select count(*) from orders where permit_token is not null").fetchone() == (0,)


def test_a_request_that_is_sent_again_gets_no_second_permit(engine, db):
    entry = engine.entry()
    (first,) = engine.ask(entry, permits=1)

    (second,) = engine.ask(entry, permits=1)

    assert (second.id, second.state, second.permit) == (first.id, "submitting", None)
    assert len(events(db, first.id)) == 1


def test_an_entry_that_waited_through_a_pause_gets_no_permit_by_being_asked_again(engine, sign_in):
    entry = engine.entry()
    engine.ask(entry)
    commands.pause_trading(sign_in("admin"), reason="Check", cancel_entries=False)

    (answer,) = engine.ask(entry, permits=1)

    assert (answer.state, answer.permit) == ("ready", None)


def test_an_engine_that_is_older_than_the_schema_gets_none(engine):
    beat(engine, "0.1.0")

    (answer,) = engine.ask(engine.entry(), permits=1)

    assert (answer.state, answer.permit) == ("ready", None)


def test_nothing_is_put_to_the_gate_with_a_stale_token(engine, db):
    with pytest.raises(AuthorityError) as refused:
        commands.request_entries(
            engine.client, shard="main", token=engine.token - 1, requests=[engine.entry()], permits=1
        )

    assert refused.value.code == "LEASE_LOST"
    assert db.execute("select count(*) from orders").fetchone() == (0,)


def test_an_entry_asked_for_during_a_pause_waits_for_it_and_gets_no_permit(engine, env, db):
    with transaction_of(env, role="authenticated", sub=member(db, "admin")) as pause:
        pause.execute("select pause_trading('Stop')")
        with meanwhile(db, lambda: engine.ask(engine.entry(), permits=1)[0]) as asked:
            pause.commit()
            answer = asked.result(20)

    assert (answer.code, answer.permit) == ("TRADING_PAUSED", None)


def test_a_pause_that_comes_while_a_permit_is_issued_waits_for_it_and_drains_it(engine, env, db, sign_in):
    entry = engine.entry()

    with transaction_of(env, role="service_role") as asking:
        asking.execute("select request_entries('main', %s, %s, 1)", (engine.token, psycopg.types.json.Jsonb([entry])))
        with meanwhile(db, lambda: commands.pause_trading(sign_in("admin"), reason="Stop")) as pausing:
            asking.commit()
            pausing.result(20)

    status = commands.trading_status(sign_in("admin"))
    assert (status.phase, [str(each.order_id) for each in status.entries_in_flight]) == ("draining", [entry["id"]])
    engine.record(entry["id"], "not_sent")
    assert commands.trading_status(sign_in("admin")).phase == "quiesced"


def test_the_permit_of_a_profile_that_is_switched_off_meanwhile_is_not_issued(engine, db):
    db.execute("update profiles set active = false where id = %s", (engine.profiles[ALICE],))

    (answer,) = engine.ask(engine.entry(), permits=1)

    assert (answer.code, answer.permit) == ("PROFILE_INACTIVE", None)
