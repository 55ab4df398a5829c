"""Alerts as rows: once while open, muted, acknowledged; and the outbox, which several engines may empty at once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from db import commands
from db.alert_models import Notification
from db.errors import Conflict, Forbidden, Invalid, NotFound
from tests.db.test_alert_rules import evaluate, unknown_entry

TRIES_MAX = 8
Look = Callable[[], Any]


@pytest.fixture
def operator(sign_in, engine):
    return sign_in("operator")


@pytest.fixture
def admin(sign_in, engine):
    return sign_in("admin")


@pytest.fixture
def look(db, engine) -> Look:
    return lambda: evaluate(db, engine)


@pytest.fixture
def claim(engine) -> Callable[..., list[Notification]]:
    def claim(holder: str = "one", ttl_s: int = 60, limit: int = 50) -> list[Notification]:
        return commands.claim_notifications(engine.client, holder=holder, limit=limit, ttl_s=ttl_s)

    return claim


def settle(engine, notice: Notification, error: str | None = None, *, holder: str = "one", **more: Any):
    result = {"id": str(notice.id), "token": notice.token, "delivered_to": [], "error": error} | more
    return commands.settle_notifications(engine.client, holder=holder, results=[result])[0]


def events(db: psycopg.Connection) -> list[str]:
    return [event for (event,) in db.execute("select event from notifications order by created_at").fetchall()]


class TestOnce:
    def test_an_alert_opens_once_and_is_told_once_however_often_one_looks(self, engine, db, look):
        unknown_entry(engine)

        assert [look().opened for _ in range(3)] == [1, 0, 0]
        assert events(db) == ["opened"]

    def test_its_end_is_told_and_the_same_again_is_a_new_alert(self, engine, db, look):
        for kind in ("POSITION_MISMATCH", None, "POSITION_MISMATCH"):
            engine.reconcile(*([{"key": "k", "kind": kind}] if kind else []))
            look()

        assert events(db) == ["opened", "resolved", "opened"]
        assert db.execute("select count(*), count(resolved_at) from alerts").fetchone() == (2, 1)

    def test_what_it_says_is_kept_up_without_another_notice(self, engine, db, look):
        for ours in ("1", "2"):
            engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "detail": {"ours": ours}})
            look()

        assert db.execute("select detail ->> 'ours' from alerts").fetchone() == ("2",)
        assert events(db) == ["opened"]

    def test_a_second_look_within_half_a_second_is_not_taken(self, engine, db, look):
        assert look().evaluated is True
        db.execute("update private.alert_watch set evaluated_at = clock_timestamp() + interval '1 minute'")
        assert commands.evaluate_alerts(engine.client).evaluated is False

    def test_two_lookers_at_once_open_one_alert(self, engine, db, service_client):
        unknown_entry(engine)
        with psycopg.connect(db.info.dsn, password=db.info.password) as other:
            other.execute("select * from private.alert_watch for update")
            assert commands.evaluate_alerts(engine.client).evaluated is False

        assert evaluate(db, engine).opened == 1

    def test_an_analyst_may_not_have_the_alerts_looked_at(self, engine, sign_in):
        with pytest.raises(Forbidden):
            commands.evaluate_alerts(sign_in("alice"))


class TestMutes:
    @pytest.mark.parametrize(
        "what", [{"rule": "ORDER_UNKNOWN"}, {"subject": True}, {"rule": "ORDER_UNKNOWN", "subject": True}]
    )
    def test_a_muted_alert_opens_and_resolves_and_sends_nothing(self, engine, operator, db, look, what):
        order_id = unknown_entry(engine)
        what = what | ({"subject": str(order_id)} if "subject" in what else {})
        commands.mute_alert(operator, reason="Known", **what)

        look()
        assert db.execute("select rule, notified_at, resolved_at from alerts").fetchone() == (
            "ORDER_UNKNOWN",
            None,
            None,
        )
        engine.record(order_id, "rejected", code="X", reason="no")
        look()

        assert db.execute("select count(resolved_at) from alerts").fetchone() == (1,)
        assert events(db) == []

    @pytest.mark.parametrize(
        "what", [{"rule": "JOB_LATE"}, {"subject": "another"}, {"rule": "JOB_LATE", "subject": "x"}]
    )
    def test_a_mute_of_something_else_holds_nothing_back(self, engine, operator, db, look, what):
        unknown_entry(engine)
        commands.mute_alert(operator, reason="Known", **what)

        look()

        assert events(db) == ["opened"]

    @pytest.mark.parametrize("ends", ["by itself", "by hand"])
    def test_an_alert_that_outlasts_its_mute_is_told_then(self, engine, operator, db, look, ends):
        unknown_entry(engine)
        mute = commands.mute_alert(operator, reason="Known", rule="ORDER_UNKNOWN", minutes=1)
        look()
        assert events(db) == []

        if ends == "by itself":
            db.execute("update alert_mutes set expires_at = clock_timestamp()")
        else:
            commands.unmute_alert(operator, mute_id=mute.id, reason="No longer")
        look()
        look()

        assert events(db) == ["opened"]

    def test_a_mute_is_on_record_with_who_and_why_and_acts_once(self, operator, db):
        request_id = uuid4()
        mutes = [
            commands.mute_alert(operator, reason=" Known ", rule="JOB_LATE", request_id=request_id) for _ in range(2)
        ]

        assert mutes[0] == mutes[1]
        assert (mutes[0].reason, mutes[0].created_by_email, mutes[0].subject) == (
            "Known",
            "operator@interlock.local",
            "*",
        )
        assert db.execute("select action, target, outcome, reason from audit_log").fetchall() == [
            ("mute_alert", "alert:JOB_LATE:*", "done", "Known")
        ]
        with pytest.raises(Conflict):
            commands.mute_alert(operator, reason="x", rule="ENGINE_DEAD", request_id=request_id)

    @pytest.mark.parametrize(
        ("what", "says"),
        [
            ({}, "a rule, a subject, or both"),
            ({"rule": "*"}, "a rule, a subject, or both"),
            ({"rule": "BOREDOM"}, "no rule"),
            ({"subject": "x" * 201}, "200 characters"),
            ({"rule": "JOB_LATE", "minutes": 0}, "between 1 minute"),
            ({"rule": "JOB_LATE", "minutes": 10081}, "between 1 minute"),
            ({"rule": "JOB_LATE", "reason": " "}, "reason is required"),
        ],
    )
    def test_a_mute_that_makes_no_sense_is_refused_with_what_to_do(self, operator, db, what, says):
        with pytest.raises(Invalid, match=says):
            commands.mute_alert(operator, **{"reason": "Known"} | what)

        assert db.execute("select count(*) from alert_mutes").fetchone() == (0,)

    def test_a_mute_ends_once(self, operator):
        mute = commands.mute_alert(operator, reason="Known", rule="JOB_LATE")

        assert commands.unmute_alert(operator, mute_id=mute.id, reason="Done").removed_reason == "Done"
        with pytest.raises(NotFound):
            commands.unmute_alert(operator, mute_id=mute.id, reason="Done")

    def test_every_rule_that_is_ever_told_can_be_muted(self, db):
        sources = db.execute("select string_agg(prosrc, ' ') from pg_proc where proname like 'alerts_of_%'").fetchone()[
            0
        ]
        (rules,) = db.execute("select private.alert_rules()").fetchone()

        assert all(f"'{rule}'" in sources for rule in rules)
        assert len(rules) == sources.count("select '")


class TestAcknowledging:
    def test_an_acknowledged_alert_says_who_looks_after_it_and_stays_open(self, engine, operator, db, look):
        unknown_entry(engine)
        look()
        (alert_id,) = db.execute("select id from alerts").fetchone()

        alert = commands.acknowledge_alert(operator, alert_id=alert_id, note=" On it ")
        look()

        assert (alert.acknowledged_by_email, alert.acknowledged_note) == ("operator@interlock.local", "On it")
        assert db.execute("select resolved_at from alerts").fetchone() == (None,)
        with pytest.raises(Conflict, match=r"operator@interlock\.local"):
            commands.acknowledge_alert(operator, alert_id=alert_id)

    def test_what_is_resolved_or_unknown_is_not_acknowledged(self, engine, operator, db, look):
        engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH"})
        look()
        engine.reconcile()
        look()

        with pytest.raises(Conflict, match="its cause is gone"):
            commands.acknowledge_alert(operator, alert_id=db.execute("select id from alerts").fetchone()[0])
        with pytest.raises(NotFound):
            commands.acknowledge_alert(operator, alert_id=uuid4())

    def test_an_owner_sees_the_alert_and_may_not_act_on_it(self, engine, sign_in, look):
        unknown_entry(engine)
        look()
        alice = sign_in("alice")
        (row,) = alice.table("alerts").select("id").execute().data

        with pytest.raises(Forbidden):
            commands.acknowledge_alert(alice, alert_id=UUID(row["id"]))
        with pytest.raises(Forbidden):
            commands.mute_alert(alice, reason="Mine", rule="ORDER_UNKNOWN")


class TestOutbox:
    def test_a_claimed_notice_is_nobody_elses_until_the_claim_runs_out(self, admin, claim, db):
        commands.test_alert(admin)

        (first,) = claim("one")
        assert claim("two") == []
        db.execute("update notifications set claimed_until = clock_timestamp()")
        (second,) = claim("two")

        assert (first.id, first.attempts, first.token) == (second.id, 1, second.token - 1)

    def test_an_older_claim_settles_nothing(self, admin, claim, db, engine):
        commands.test_alert(admin)
        (old,) = claim("one")
        db.execute("update notifications set claimed_until = clock_timestamp()")
        (new,) = claim("two")

        assert settle(engine, old).settled is False
        assert settle(engine, new, holder="one").settled is False
        assert settle(engine, new, holder="two").status == "sent"
        assert settle(engine, new, holder="two").settled is False

    def test_a_holder_that_claims_again_settles_nothing_with_its_older_claim(self, admin, claim, db, engine):
        commands.test_alert(admin)
        (old,) = claim("one")
        db.execute("update notifications set claimed_until = clock_timestamp()")
        (new,) = claim("one")

        assert settle(engine, old).settled is False
        assert settle(engine, new).settled is True

    def test_many_engines_that_claim_at_once_share_the_notices_without_overlap(self, admin, claim):
        for _ in range(40):
            commands.test_alert(admin)
        shares: list[list[UUID]] = [[] for _ in range(4)]

        def take(share: list[UUID]) -> None:
            while claimed := claim(f"engine {id(share)}", limit=3):
                share += [notice.id for notice in claimed]

        threads = [threading.Thread(target=take, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        taken = [notice for share in shares for notice in share]
        assert len(taken) == len(set(taken)) == 40

    def test_a_failed_try_waits_longer_each_time_and_is_given_up_after_the_last(self, admin, claim, db, engine):
        commands.test_alert(admin)
        for n in range(1, TRIES_MAX):
            (notice,) = claim()
            (before,) = db.execute("select clock_timestamp()").fetchone()
            assert settle(engine, notice, error="refused").status == "queued"
            due_at, after = db.execute("select due_at, clock_timestamp() from notifications").fetchone()
            assert before <= due_at - timedelta(seconds=2**n) <= after
            assert claim() == []  # not due yet
            db.execute("update notifications set due_at = clock_timestamp()")
        (notice,) = claim()

        assert settle(engine, notice, error="refused").status == "failed"
        assert claim() == []
        assert db.execute("select last_error, attempts from notifications").fetchone() == ("refused", TRIES_MAX)

    def test_the_targets_that_have_it_are_kept_for_the_next_try(self, admin, claim, db, engine):
        commands.test_alert(admin)
        (notice,) = claim()
        settle(engine, notice, error="b refused", delivered_to=["a"])
        db.execute("update notifications set due_at = clock_timestamp()")

        (again,) = claim()

        assert again.delivered_to == ["a"]

    def test_a_notice_whose_engines_all_died_with_it_is_given_up_in_the_end(self, admin, claim, db, look):
        commands.test_alert(admin)
        db.execute("update notifications set attempts = %s", (TRIES_MAX - 1,))
        claim()
        db.execute("update notifications set claimed_until = clock_timestamp()")

        assert claim() == []
        look()

        assert db.execute("select status from notifications where event = 'test'").fetchone() == ("failed",)
        assert db.execute("select rule from alerts").fetchone() == ("NOTICE_UNDELIVERED",)

    def test_a_notice_that_nobody_can_send_does_not_go_out_hours_later(self, admin, claim, db, look):
        commands.test_alert(admin)
        db.execute("update notifications set created_at = now() - interval '61 minutes'")

        look()

        assert claim() == []
        assert db.execute("select status from notifications").fetchone() == ("expired",)

    @pytest.mark.parametrize(
        "results", [{}, [1], [{}], [{"id": "x", "token": 1}], [{"id": str(uuid4()), "token": "x"}]]
    )
    def test_results_that_make_no_sense_are_refused(self, engine, results):
        with pytest.raises(Invalid):
            commands.alerts.call(engine.client, "settle_notifications", p_holder="one", p_results=results)

    def test_a_test_is_an_admins_and_says_whether_anybody_can_send_it(self, admin, operator, engine, db):
        assert commands.test_alert(admin).notifier is False
        evaluate(db, engine, notifiers=1)
        assert commands.test_alert(admin).notifier is True

        with pytest.raises(Forbidden):
            commands.test_alert(operator)
