"""Pause, resume, halt: who may, what happens, what is remembered."""

from uuid import uuid4

import pytest

from db import commands
from db.errors import Conflict, Forbidden, Invalid, LeaseLost


def mode_row(db):
    return db.execute(
        "select mode::text, version, reason, changed_by_email from trading_controls where scope = 'global'"
    ).fetchone()


class TestPause:
    def test_entries_are_denied_and_exits_pass_while_paused(self, engine, sign_in):
        position = engine.held()

        commands.pause_trading(sign_in("admin"), reason="Earnings tonight")

        denied = engine.ask_one(symbol="MSFT")
        assert (denied.state, denied.code) == ("denied", "TRADING_PAUSED")
        assert "paused" in denied.reason
        assert engine.exit(position.id).state == "ready"
        assert [o.purpose for o in engine.claim()] == ["exit"]

    def test_entries_flow_again_after_resume(self, engine, sign_in):
        admin = sign_in("admin")
        commands.pause_trading(admin, reason="Check")

        commands.resume_trading(admin, reason="Checked")

        assert engine.ask_one().state == "ready"

    def test_unsent_entries_are_cancelled_and_their_capital_returns(self, engine, sign_in, db):
        waiting = engine.ask_one()

        answer = commands.pause_trading(sign_in("admin"), reason="Stop")

        assert answer.entries_canceled == 1
        state, reserved = db.execute(
            "select o.state::text, c.reserved_usd from orders o"
            " join profile_capital c using (profile_id) where o.id = %s",
            (waiting.id,),
        ).fetchone()
        assert (state, reserved) == ("canceled", 0)
        assert engine.claim() == []

    def test_resting_entries_are_marked_for_cancellation_and_protective_orders_are_not(self, engine, sign_in, db):
        held = engine.held()
        resting = engine.working(symbol="MSFT")

        commands.pause_trading(sign_in("admin"), reason="Stop")

        marked = {
            row[0] for row in db.execute("select id from orders where cancel_requested_at is not null").fetchall()
        }
        assert marked == {resting.id}
        assert db.execute(
            "select count(*) from orders where parent_id = %s and state = 'working'", (held.id,)
        ).fetchone() == (2,)

    def test_nothing_is_cancelled_when_the_admin_opts_out(self, engine, sign_in, db):
        resting = engine.working()

        commands.pause_trading(sign_in("admin"), reason="Stop", cancel_entries=False)

        assert db.execute("select cancel_requested_at from orders where id = %s", (resting.id,)).fetchone() == (None,)

    def test_an_entry_that_was_left_waiting_gets_no_permit_while_paused(self, engine, sign_in):
        admin = sign_in("admin")
        waiting = engine.ask_one()
        commands.pause_trading(admin, reason="Stop", cancel_entries=False)

        assert engine.claim() == []

        commands.resume_trading(admin, reason="Go on")
        assert [order.id for order in engine.claim()] == [waiting.id]

    def test_pausing_what_is_paused_changes_nothing_and_says_so(self, engine, sign_in, db):
        admin = sign_in("admin")
        commands.pause_trading(admin, reason="First")
        before = mode_row(db)

        again = commands.pause_trading(admin, reason="Second")

        assert again.changed is False
        assert "already PAUSED" in again.message
        assert mode_row(db) == before

    @pytest.mark.parametrize("stop", [commands.halt_trading, commands.pause_trading])
    def test_a_stop_during_a_drill_is_the_persons_from_then_on(self, engine, sign_in, db, stop):
        admin = sign_in("admin")
        drill = stop(admin, reason="Drill 1", reason_code="drill")
        assert stop(admin, reason="Drill 1", reason_code="drill").changed is False

        real = stop(admin, reason="Real trouble")

        assert real.changed is True
        assert real.status.version == drill.status.version + 1
        assert real.status.reason == "Real trouble"

    def test_a_request_sent_twice_acts_once_and_answers_the_same(self, engine, sign_in, db):
        admin, request_id = sign_in("admin"), uuid4()
        first = commands.pause_trading(admin, reason="Once", request_id=request_id)
        commands.resume_trading(admin, reason="Go on")

        repeated = commands.pause_trading(admin, reason="Once", request_id=request_id)

        assert repeated == first
        assert mode_row(db)[0] == "RUNNING"

    def test_an_expected_version_that_has_passed_is_a_conflict(self, engine, sign_in, db):
        admin = sign_in("admin")
        version = commands.trading_status(admin).version
        commands.pause_trading(admin, reason="Someone else was faster", expected_version=version)

        with pytest.raises(Conflict, match="version"):
            commands.resume_trading(admin, reason="Late", expected_version=version)

        assert mode_row(db)[0] == "PAUSED"

    def test_a_planned_end_resumes_by_itself_and_is_recorded(self, engine, sign_in, db):
        commands.pause_trading(sign_in("admin"), reason="Short break")
        db.execute("update trading_controls set resume_at = clock_timestamp() - interval '1 second'")

        status = engine.show_alive()

        assert status.mode == "RUNNING"
        assert db.execute("select reason_code from trading_control_events order by id desc limit 1").fetchone() == (
            "resume_at",
        )


class TestScopes:
    def test_a_paused_symbol_stops_only_that_symbol(self, engine, sign_in):
        commands.pause_trading(sign_in("admin"), reason="News", scope="symbol", scope_key="aapl")

        assert engine.ask_one(symbol="AAPL").code == "TRADING_PAUSED"
        assert engine.ask_one(symbol="MSFT").state == "ready"

    def test_a_paused_profile_stops_only_that_profile(self, engine, sign_in):
        alice = str(engine.profiles["Alice trend daily"])
        commands.pause_trading(sign_in("admin"), reason="Review", scope="profile", scope_key=alice)

        assert engine.ask_one("Alice trend daily").code == "TRADING_PAUSED"
        assert engine.ask_one("Bob dips daily").state == "ready"

    def test_a_halt_refuses_exits_too(self, engine, sign_in):
        position = engine.held()

        commands.halt_trading(sign_in("admin"), reason="Kill")

        assert engine.exit(position.id).code == "TRADING_HALTED"
        assert engine.ask_one(symbol="MSFT").code == "TRADING_HALTED"

    def test_an_exit_that_was_accepted_before_a_halt_gets_no_permit_during_it(self, engine, sign_in):
        position = engine.held()
        assert engine.exit(position.id).state == "ready"

        commands.halt_trading(sign_in("admin"), reason="Kill")

        assert engine.claim() == []


class TestQuiescence:
    def test_trading_drains_until_the_open_permit_is_recorded(self, engine, sign_in):
        admin = sign_in("admin")
        sent = engine.ask_one()
        (permit,) = engine.claim()

        paused = commands.pause_trading(admin, reason="Stop").status

        assert paused.phase == "draining"
        assert [p.order_id for p in paused.entries_in_flight] == [sent.id]
        engine.record(permit.id, "not_sent", reason="Handed back")
        assert commands.trading_status(admin).phase == "quiesced"

    def test_an_ambiguous_answer_keeps_trading_draining(self, engine, sign_in):
        admin = sign_in("admin")
        engine.ask_one()
        (permit,) = engine.claim()
        commands.pause_trading(admin, reason="Stop")

        engine.record(permit.id, "unknown", reason="Timed out")

        assert commands.trading_status(admin).phase == "draining"

    def test_trading_is_quiesced_at_once_when_no_permit_is_out(self, engine, sign_in):
        assert commands.pause_trading(sign_in("admin"), reason="Stop").status.phase == "quiesced"


class TestRefusals:
    @pytest.mark.parametrize("role", ["operator", "alice", "bob"])
    def test_a_non_admin_is_refused_and_the_attempt_is_recorded(self, engine, sign_in, db, role):
        before = mode_row(db)

        with pytest.raises(Forbidden, match="Only an admin"):
            commands.pause_trading(sign_in(role), reason="I want to")

        assert mode_row(db) == before
        assert db.execute("select action, outcome, actor_email from audit_log order by id desc limit 1").fetchone() == (
            "pause_trading",
            "refused",
            f"{role}@interlock.local",
        )

    def test_a_demoted_admin_with_a_live_token_is_refused(self, engine, sign_in, db):
        admin = sign_in("admin")
        db.execute("update members set role = 'operator' where email = 'admin@interlock.local'")
        try:
            with pytest.raises(Forbidden):
                commands.pause_trading(admin, reason="Still me")
        finally:
            db.execute("update members set role = 'admin' where email = 'admin@interlock.local'")

        assert mode_row(db)[0] == "RUNNING"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"reason": ""}, "reason is required"),
            ({"reason": "   \n"}, "reason is required"),
            ({"reason": "x" * 10_000}, "at most 500"),
            ({"reason": "ok", "scope": "galaxy"}, "Scope"),
            ({"reason": "ok", "scope": "symbol", "scope_key": "NOPE"}, "not known"),
            ({"reason": "ok", "scope": "profile", "scope_key": "not-a-uuid"}, "not known"),
            ({"reason": "ok", "reason_code": "Drop Table"}, "reason code"),
        ],
    )
    def test_bad_input_is_refused_with_a_clear_message_and_no_change(self, engine, sign_in, db, arguments, says):
        before = mode_row(db)

        with pytest.raises(Invalid, match=says):
            commands.pause_trading(sign_in("admin"), **arguments)

        assert mode_row(db) == before


class TestAudit:
    def test_a_change_and_its_audit_row_come_from_one_transaction(self, engine, sign_in, db):
        commands.pause_trading(sign_in("admin"), reason="Together")

        control, audit, event = db.execute(
            "select (select xmin::text from trading_controls where scope = 'global'),"
            " (select xmin::text from audit_log order by id desc limit 1),"
            " (select xmin::text from trading_control_events order by id desc limit 1)"
        ).fetchone()
        assert control == audit == event

    def test_the_chain_verifies_and_names_the_first_row_that_was_changed(self, engine, sign_in, db):
        admin = sign_in("admin")
        for turn in range(3):
            commands.pause_trading(admin, reason=f"Turn {turn}")
            commands.resume_trading(admin, reason=f"Turn {turn}")
        assert commands.verify_audit_chain(admin).ok
        victim = db.execute("select id from audit_log order by id offset 2 limit 1").fetchone()[0]
        db.execute("alter table audit_log disable trigger all")
        db.execute("update audit_log set reason = 'I was never here' where id = %s", (victim,))
        db.execute("alter table audit_log enable trigger all")

        proof = commands.verify_audit_chain(admin)

        assert (proof.ok, proof.first_broken_id) == (False, victim)

    @pytest.mark.parametrize("role", ["postgres", "service_role", "authenticated", "anon"])
    @pytest.mark.parametrize(
        "statement", ["update audit_log set reason = 'x'", "delete from audit_log", "truncate audit_log"]
    )
    def test_the_log_cannot_be_rewritten_by_any_role(self, engine, sign_in, db, role, statement):
        commands.pause_trading(sign_in("admin"), reason="Something to protect")

        with pytest.raises(Exception, match=r"append-only|permission denied"), db.transaction():
            db.execute(f"set local role {role}")
            db.execute(statement)


class TestLeases:
    def test_a_stale_token_is_refused_with_its_own_code(self, engine):
        engine.token -= 1

        with pytest.raises(LeaseLost):
            engine.ask_one()
        engine.token += 1

    def test_a_second_engine_waits_for_the_first_ones_lease(self, engine):
        other = commands.acquire_lease(engine.client, shard="main", holder="other", ttl_s=5)

        assert not other.acquired

    def test_a_takeover_after_expiry_fences_the_old_holder(self, engine, db):
        db.execute("update engine_leases set expires_at = clock_timestamp()")

        other = commands.acquire_lease(engine.client, shard="main", holder="other", ttl_s=60)

        assert other.acquired
        with pytest.raises(LeaseLost):
            engine.claim()
        engine.token = other.token
