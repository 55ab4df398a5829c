"""Lockouts: no entries in a symbol for a time, set by people and by the system side by side."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from db import commands
from db.errors import Conflict, Forbidden, Invalid, LeaseLost, NotFound


@pytest.fixture
def operator(sign_in, engine):
    return sign_in("operator")


def lock(operator, ticker: str = "AAPL", **more: Any):
    return commands.create_lockout(operator, ticker=ticker, reason="Earnings tonight", **more)


def system_lock(engine, **more: Any):
    return commands.engine_lockout(
        engine.client, shard="main", token=engine.token,
        **{"ticker": "AAPL", "reason": "Fell 9 %", "duration_minutes": 30, "lockout_type": "news_shock"} | more,
    )  # fmt: skip


class TestEffect:
    def test_entries_in_the_symbol_are_denied_and_others_are_not(self, engine, operator):
        lock(operator)

        answer = engine.ask_one(symbol="AAPL")

        assert (answer.state, answer.code) == ("denied", "SYMBOL_LOCKED")
        assert "locked out until" in (answer.reason or "")
        assert engine.ask_one(symbol="IBM").state == "ready"

    def test_exits_pass(self, engine, operator):
        held = engine.held()
        lock(operator)

        assert engine.exit(held.id).state == "ready"

    @pytest.mark.parametrize(("side", "code"), [("long", "SYMBOL_LOCKED"), ("short", None), (None, "SYMBOL_LOCKED")])
    def test_a_lockout_of_one_side_lets_the_other_pass(self, engine, operator, side, code):
        lock(operator, side=side)

        assert engine.ask_one().code == code

    def test_a_star_locks_every_symbol(self, engine, operator):
        lock(operator, "*")

        assert {engine.ask_one(symbol=s).code for s in ("AAPL", "IBM")} == {"SYMBOL_LOCKED"}

    def test_what_waits_is_cancelled_and_what_rests_at_the_broker_is_asked_back_by_id(self, engine, operator, db):
        resting = engine.working()
        waiting = engine.ask_one("Bob dips daily")
        elsewhere = engine.ask_one("Bob dips daily", symbol="IBM")

        lock(operator)

        states = dict(db.execute("select id, state::text from orders where purpose = 'entry'").fetchall())
        assert (states[waiting.id], states[elsewhere.id]) == ("canceled", "ready")
        asked = db.execute("select id from orders where cancel_requested_at is not null").fetchall()
        assert asked == [(resting.id,)]
        legs = db.execute(
            "select count(*) from orders where parent_id = %s and cancel_requested_at is not null", (resting.id,)
        )
        assert legs.fetchone() == (0,)

    def test_a_lockout_counts_from_its_start_up_to_but_not_at_its_end(self, engine, operator, db):
        lockout = lock(operator)
        in_force = "select count(*) from private.lockout_of('AAPL', 'long', %s, %s)"
        profile = engine.profiles["Alice trend daily"]

        assert db.execute(in_force, (profile, lockout.starts_at)).fetchone() == (1,)
        assert db.execute(in_force, (profile, lockout.expires_at)).fetchone() == (0,)
        db.execute("update symbol_lockouts set starts_at = now() - interval '1 hour', expires_at = clock_timestamp()")
        assert engine.ask_one().state == "ready"


class TestSideBySide:
    def test_removing_a_manual_lockout_leaves_the_systems_in_force(self, engine, operator):
        system_lock(engine)
        manual = lock(operator)

        commands.remove_lockout(operator, lockout_id=manual.id, reason="Report is out")

        assert engine.ask_one().code == "SYMBOL_LOCKED"

    def test_a_manual_lockout_changes_nothing_of_the_systems(self, engine, operator, db):
        before = system_lock(engine)

        lock(operator, duration_minutes=5)

        rows = db.execute(
            "select expires_at, removed_at from symbol_lockouts where lockout_type = 'news_shock'"
        ).fetchall()
        assert rows == [(before.expires_at, None)]

    def test_the_system_does_not_repeat_what_is_in_force(self, engine, operator):
        assert system_lock(engine) == system_lock(engine)
        assert system_lock(engine, lockout_type="cooldown").lockout_type == "cooldown"

    def test_a_profiles_own_lockout_leaves_other_profiles_alone(self, engine, operator):
        system_lock(engine, ticker="*", lockout_type="stoploss_guard", profile_id=engine.profiles["Alice trend daily"])

        assert engine.ask_one("Alice trend daily").code == "SYMBOL_LOCKED"
        assert engine.ask_one("Bob dips daily").state == "ready"

    def test_an_analyst_sees_lockouts_of_everyone_and_of_its_own_profiles_only(self, engine, operator, sign_in):
        lock(operator)
        system_lock(engine, ticker="*", lockout_type="drawdown", profile_id=engine.profiles["Bob dips daily"])

        seen = {
            name: sign_in(name).table("symbol_lockouts").select("lockout_type").execute().data
            for name in ("alice", "bob")
        }

        assert [r["lockout_type"] for r in seen["alice"]] == ["manual"]
        assert sorted(r["lockout_type"] for r in seen["bob"]) == ["drawdown", "manual"]


class TestRequests:
    def test_the_ticker_is_put_in_its_one_spelling(self, operator):
        assert lock(operator, "  brk.b ").ticker == "BRK.B"

    def test_sixty_minutes_are_the_default(self, operator):
        lockout = lock(operator)

        assert (lockout.expires_at - lockout.starts_at).total_seconds() == 3600

    @pytest.mark.parametrize(
        ("ticker", "more", "says"),
        [
            ("", {}, "no ticker"),
            ("AA PL", {}, "no ticker"),
            ("1AAPL", {}, "no ticker"),
            ("АAPL", {}, "no ticker"),  # a Cyrillic letter that looks like an A
            ("A" * 16, {}, "no ticker"),
            ("AAPL", {"duration_minutes": 0}, "between 1 minute"),
            ("AAPL", {"duration_minutes": 525601}, "between 1 minute"),
            ("AAPL", {"side": "up"}, "side"),
            ("AAPL", {"lockout_type": "boredom"}, "type"),
        ],
    )
    def test_a_request_that_makes_no_sense_is_refused_with_what_to_do(self, operator, db, ticker, more, says):
        with pytest.raises(Invalid, match=says):
            lock(operator, ticker, **more)

        assert db.execute("select count(*) from symbol_lockouts").fetchone() == (0,)

    def test_an_analyst_may_neither_lock_nor_remove(self, engine, operator, sign_in, db):
        lockout = lock(operator)

        with pytest.raises(Forbidden):
            lock(sign_in("alice"))
        with pytest.raises(Forbidden):
            commands.remove_lockout(sign_in("alice"), lockout_id=lockout.id, reason="Mine")

        assert db.execute("select count(*) from symbol_lockouts where removed_at is null").fetchone() == (1,)

    def test_a_lockout_is_removed_once_with_its_reason_kept(self, operator, engine, db):
        lockout = lock(operator)

        removed = commands.remove_lockout(operator, lockout_id=lockout.id, reason="Report is out")

        assert (removed.removed_by_email, removed.removed_reason) == ("operator@interlock.local", "Report is out")
        assert engine.ask_one().state == "ready"
        with pytest.raises(NotFound):
            commands.remove_lockout(operator, lockout_id=lockout.id, reason="Again")
        acts = db.execute("select action, outcome from audit_log order by id").fetchall()
        assert acts == [("create_lockout", "done"), ("remove_lockout", "done"), ("remove_lockout", "refused")]

    def test_the_same_request_sent_twice_locks_once(self, operator, db):
        request_id = uuid4()

        assert lock(operator, request_id=request_id) == lock(operator, request_id=request_id)

        assert db.execute("select count(*) from symbol_lockouts").fetchone() == (1,)
        with pytest.raises(Conflict):
            commands.remove_lockout(operator, lockout_id=uuid4(), reason="x", request_id=request_id)

    def test_the_engines_lockouts_need_its_lease_and_a_systems_type(self, engine):
        with pytest.raises(Invalid, match="a person's"):
            system_lock(engine, lockout_type="manual")
        engine.token -= 1
        with pytest.raises(LeaseLost):
            system_lock(engine)
        engine.token += 1


class TestCauses:
    def caused(self, engine, cause: str, **more: Any):
        return system_lock(engine, detail={"cause": cause}, **more)

    def test_a_cause_locks_once_even_after_its_lockout_is_over(self, engine, db):
        first = self.caused(engine, "headline:7")
        db.execute("update symbol_lockouts set starts_at = now() - interval '2 h', expires_at = now() - interval '1 h'")

        again = self.caused(engine, "headline:7")

        assert again.id == first.id
        assert engine.ask_one().state == "ready"

    def test_what_a_person_has_removed_does_not_come_back_by_the_same_cause(self, engine, operator):
        lockout = self.caused(engine, "headline:7")
        commands.remove_lockout(operator, lockout_id=lockout.id, reason="A rumour")

        self.caused(engine, "headline:7")
        assert engine.ask_one().state == "ready"

        self.caused(engine, "headline:8")
        assert engine.ask_one(symbol="AAPL").code == "SYMBOL_LOCKED"

    def test_another_cause_within_the_same_time_adds_nothing(self, engine, db):
        first = self.caused(engine, "headline:7", duration_minutes=60)

        assert self.caused(engine, "headline:8", duration_minutes=30).id == first.id

    def test_another_cause_that_asks_for_longer_locks_for_longer(self, engine, db):
        self.caused(engine, "headline:7", duration_minutes=30)

        longer = self.caused(engine, "headline:8", duration_minutes=60)

        assert longer.detail["cause"] == "headline:8"
        assert db.execute("select count(*) from symbol_lockouts").fetchone() == (2,)

    def test_one_headline_locks_each_of_its_symbols(self, engine):
        assert self.caused(engine, "headline:7").ticker == "AAPL"
        assert self.caused(engine, "headline:7", ticker="IBM").ticker == "IBM"

    def test_the_database_itself_keeps_a_cause_from_locking_twice(self, engine, db):
        self.caused(engine, "headline:7")

        with pytest.raises(psycopg.errors.UniqueViolation):
            db.execute(
                "insert into symbol_lockouts "
                "(ticker, lockout_type, reason, detail, starts_at, expires_at, created_by_email) "
                "select ticker, lockout_type, reason, detail, starts_at, expires_at, created_by_email "
                "from symbol_lockouts"
            )


class TestFacts:
    def facts(self, engine, since: str = "2007-01-01"):
        return commands.protection_facts(
            engine.client, shard="main", token=engine.token, since=datetime.fromisoformat(f"{since}T00:00:00+00:00")
        )

    def test_closed_trades_are_told_with_the_time_since_they_were_booked(self, engine):
        held = engine.held()
        assert self.facts(engine).trades == []

        engine.update(held.leg("stop", "filled", filled=held.qty, price="95"))

        (trade,) = self.facts(engine).trades
        assert (trade.trade_id, trade.symbol, trade.exit_reason, trade.pnl_usd) == (held.id, "AAPL", "stop_loss", -50)
        assert 0 <= trade.age_s < 60
        assert self.facts(engine, "2007-01-04").trades == []

    def test_open_breaks_are_told_with_whether_they_were_seen_again(self, engine):
        finding = {"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL", "detail": {}}
        engine.reconcile(finding)
        assert [each.seen_again for each in self.facts(engine).breaks] == [False]

        engine.reconcile(finding)
        (found,) = self.facts(engine).breaks
        assert (found.kind, found.symbol, found.seen_again) == ("POSITION_MISMATCH", "AAPL", True)

        engine.reconcile()
        assert self.facts(engine).breaks == []

    def test_they_need_the_lease(self, engine):
        engine.token -= 1
        with pytest.raises(LeaseLost):
            self.facts(engine)
        engine.token += 1
