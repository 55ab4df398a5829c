"""The rules of the alerts: each fires when its condition holds, keeps still before, and clears when it is gone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from db import commands
from db.alert_models import Evaluated
from engine.domain.risk_config import AlertBounds
from tests.db.conftest import Engine

ALICE = "Alice trend daily"


@pytest.fixture
def admin(sign_in, engine):
    return sign_in("admin")


@pytest.fixture
def look(db: psycopg.Connection, engine: Engine):
    """Call it to have the alerts looked at right now; it returns the open ones as (rule, subject)."""

    def look(notifiers: int = 1) -> set[tuple[str, str]]:
        evaluate(db, engine, notifiers)
        return set(db.execute("select rule, subject from alerts where resolved_at is null").fetchall())

    return look


def evaluate(db: psycopg.Connection, engine: Engine, notifiers: int = 1) -> Evaluated:
    db.execute("update private.alert_watch set evaluated_at = '-infinity'")
    return commands.evaluate_alerts(engine.client, notifiers=notifiers)


def bound(db: psycopg.Connection, **bounds: Any) -> None:
    """Set bounds of the section `alerts` of the risk configuration."""
    db.execute("update risk_configs set config = config || %s where active", (Jsonb({"alerts": bounds}),))


def pause(admin, **more: Any) -> None:
    commands.pause_trading(admin, reason="Lunch", **more)


def resume(admin, **more: Any) -> None:
    commands.resume_trading(admin, reason="Back", **more)


def unknown_entry(engine: Engine, **changes: Any) -> UUID:
    answer = engine.ask_one(**changes)
    assert answer.state == "ready", answer
    engine.claim()
    engine.record(answer.id, "unknown", code="TIMEOUT", reason="no answer")
    return answer.id


def test_nothing_is_wrong_when_all_is_well(engine, look):
    engine.working()

    assert look() == set()


class TestControls:
    def test_a_pause_that_lasts_too_long_is_told_until_trading_resumes(self, admin, db, look):
        pause(admin)
        assert look() == set()

        bound(db, paused_s=0.001)
        assert look() == {("PAUSED_LONG", "global:*")}

        resume(admin)
        assert look() == set()

    def test_the_shipped_bound_of_a_long_pause_is_an_hour(self, engine, db):
        assert db.execute("select (private.alert_bounds()).paused = interval '1 hour'").fetchone() == (True,)

    def test_a_halt_counts_from_the_pause_before_it(self, admin, db, look):
        pause(admin)
        commands.halt_trading(admin, reason="Worse")
        bound(db, paused_s=0.001)

        look()

        since = db.execute("select detail ->> 'since' from alerts where rule = 'PAUSED_LONG'").fetchone()[0]
        first = db.execute("select min(changed_at) from trading_control_events").fetchone()[0]
        assert datetime.fromisoformat(since) == first

    def test_a_pause_whose_end_is_planned_is_nobodys_oversight(self, admin, db, look):
        bound(db, paused_s=0.001)
        pause(admin, resume_at=datetime.now(UTC) + timedelta(days=1))

        assert look() == set()

    def test_a_pause_of_a_profile_is_its_owners_alert(self, admin, engine, sign_in, db, look):
        bound(db, paused_s=0.001)
        pause(admin, scope="profile", scope_key=str(engine.profiles[ALICE]))

        look()

        seen = {who: sign_in(who).table("alerts").select("rule").execute().data for who in ("alice", "bob", "operator")}
        assert {who: len(rows) for who, rows in seen.items()} == {"alice": 1, "bob": 0, "operator": 1}

    def test_many_changes_in_a_short_time_are_flapping(self, admin, db, look):
        bound(db, flapping_changes=4)
        for _ in range(2):
            pause(admin)
            assert ("CONTROL_FLAPPING", "global:*") not in look()
            resume(admin)
        assert look() == {("CONTROL_FLAPPING", "global:*")}

        bound(db, flapping_changes=4, flapping_window_s=0.001)
        assert look() == set()

    @pytest.mark.parametrize(("swing", "told"), [("0.10", True), ("0.001", False)])
    def test_a_pause_in_high_volatility_is_told_and_one_in_quiet_markets_is_not(self, admin, db, look, swing, told):
        closes_swing(db, swing)
        assert look() == set()  # moving prices alone are no alert

        pause(admin)
        assert look() == ({("PAUSED_VOLATILE", "global:*")} if told else set())

        resume(admin)
        assert look() == set()


class TestEngines:
    def test_an_engine_that_falls_silent_is_dead_until_it_reports_again(self, engine, db, look):
        db.execute("update engine_heartbeats set beat_at = now() - interval '16 seconds'")
        assert look() == {("ENGINE_DEAD", "main")}
        assert db.execute("select severity from alerts").fetchone() == ("critical",)

        engine.show_alive()
        assert look() == set()

    def test_an_engine_that_never_reported_is_dead_where_profiles_are_active(self, engine, db, look):
        db.execute("update profiles set shard = 'west' where name = %s", (ALICE,))
        assert look() == {("ENGINE_DEAD", "west")}

        db.execute("update profiles set active = false where name = %s", (ALICE,))
        assert look() == set()

    def test_a_person_sees_that_the_only_engine_is_dead(self, engine, db, sign_in):
        db.execute("update engine_heartbeats set beat_at = now() - interval '1 minute'")

        assert commands.evaluate_alerts(sign_in("operator")).opened == 1

    def test_a_job_past_its_limit_is_told_until_it_succeeds(self, engine, look):
        late = {"healthy": False, "limit_s": 10, "last_error": "no answer"}
        report(engine, jobs={"reconcile": late, "submit": {"healthy": True}})
        assert look() == {("JOB_LATE", "main:reconcile")}

        report(engine, jobs={"reconcile": late | {"healthy": True}})
        assert look() == set()

    def test_the_jobs_of_a_dead_engine_are_not_told_one_by_one(self, engine, db, look):
        report(engine, jobs={"reconcile": {"healthy": False}})
        db.execute("update engine_heartbeats set beat_at = now() - interval '1 minute'")

        assert look() == {("ENGINE_DEAD", "main")}

    @pytest.mark.parametrize("jobs", [{}, [], "x", {"a": 1}, {"a": {"healthy": "maybe"}}])
    def test_a_report_that_makes_no_sense_is_no_late_job(self, engine, look, jobs):
        report(engine, jobs=jobs)

        assert look() == set()

    @pytest.mark.parametrize(
        ("detail", "rule"),
        [
            ({"broker_blocked": True}, "BROKER_BLOCKED"),
            ({"brake": True}, "BRAKE_ON"),
            ({"local_fault": "the disk is full"}, "ENGINE_FAULT"),
        ],
    )
    def test_what_an_engine_says_of_itself_is_told_until_it_is_over(self, engine, look, detail, rule):
        engine.show_alive(**detail)
        assert look() == {(rule, "main")}

        engine.show_alive()
        assert look() == set()


class TestOrders:
    def test_an_unknown_order_is_told_until_it_is_settled(self, engine, look):
        order_id = unknown_entry(engine)
        assert look() == {("ORDER_UNKNOWN", str(order_id))}

        engine.record(order_id, "rejected", code="X", reason="no")
        assert look() == set()

    def test_each_owner_sees_the_own_unknown_orders(self, engine, sign_in, look):
        unknown_entry(engine)
        unknown_entry(engine, profile="Bob dips daily", symbol="IBM")

        look()

        seen = {who: {r["symbol"] for r in sign_in(who).table("alerts").select("symbol").execute().data}
                for who in ("alice", "bob", "admin")}  # fmt: skip
        assert seen == {"alice": {"AAPL"}, "bob": {"IBM"}, "admin": {"AAPL", "IBM"}}

    def test_an_approval_that_runs_out_soon_is_told_until_it_is_decided(self, engine, admin, db, look):
        commands.update_approval_config(admin, patch={"auto_approve_paper": False}, reason="Look at each")
        answer = engine.ask_one()
        assert look() == set()

        db.execute("update operator_approvals set expires_at = clock_timestamp() + interval '1 minute'")
        (approval,) = db.execute("select id from operator_approvals").fetchone()
        assert look() == {("APPROVAL_EXPIRING", str(approval))}

        commands.decide_approval(admin, approval_id=approval, decision="reject", reason="No")
        assert look() == set()
        assert answer.state == "awaiting_approval"

    def test_a_difference_of_the_books_is_told_until_it_is_repaired(self, engine, look):
        engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL", "detail": {"ours": "1"}})
        assert look() == {("RECONCILIATION_BREAK", "main:k")}

        engine.reconcile()
        assert look() == set()

    @pytest.mark.parametrize(("severity", "told"), [("info", []), ("warning", ["warning"]), ("critical", ["critical"])])
    def test_a_difference_is_as_severe_as_its_finding_and_what_only_informs_is_no_alert(
        self, engine, db, look, severity, told
    ):
        engine.reconcile({"key": "k", "kind": "ORDER_ADOPTED", "severity": severity, "advice": "Look at it."})

        look()

        found = db.execute("select severity, message from alerts").fetchall()
        assert [row[0] for row in found] == told
        assert all("Look at it." in message for _, message in found)

    @pytest.mark.parametrize("kind", ["POSITION_UNPROTECTED", "ACCOUNT_BLOCKED", "TRADING_SUSPENDED"])
    def test_what_has_a_rule_of_its_own_is_not_told_twice(self, engine, look, kind):
        engine.reconcile({"key": "k", "kind": kind, "severity": "critical"})

        assert look() == set()

    def test_an_entry_after_a_pause_stays_for_an_hour_although_it_was_repaired_at_once(self, engine, db, look):
        finding = {"key": "ENTRY_AFTER_PAUSE:x", "kind": "ENTRY_AFTER_PAUSE", "symbol": "AAPL", "status": "repaired"}
        engine.reconcile(finding)
        assert look() == {("ENTRY_AFTER_PAUSE", "main:ENTRY_AFTER_PAUSE:x")}

        db.execute("update reconciliation_findings set last_seen_at = now() - interval '61 minutes'")
        assert look() == set()

    def test_an_entry_after_a_pause_is_its_owners_alert(self, engine, db, look):
        order = engine.working()
        engine.reconcile({"key": f"ENTRY_AFTER_PAUSE:{order.id}", "kind": "ENTRY_AFTER_PAUSE", "symbol": "AAPL"})

        look()

        profile = db.execute("select profile_id from alerts").fetchone()
        assert profile == (engine.profiles[ALICE],)


class TestPositions:
    def test_an_unprotected_position_is_told_until_a_stop_covers_it(self, engine, db, look):
        held = engine.held()
        assert look() == set()  # the stop has a few seconds to come

        age(db)
        assert look() == {("POSITION_UNPROTECTED", str(held.id))}

        protect(db, "4")
        assert look() == {("POSITION_UNPROTECTED", str(held.id))}  # a part is not enough

        protect(db, "10")
        assert look() == set()

    def test_a_position_that_is_being_closed_needs_no_stop(self, engine, db, look):
        held = engine.held()
        age(db)
        assert engine.exit(held.id).state == "ready"

        assert look() == set()

    def test_a_stop_that_goes_away_later_is_told(self, engine, db, look):
        held = engine.held()
        age(db)
        protect(db, "10")
        assert look() == set()

        protect(db, "0")
        assert look() == {("POSITION_UNPROTECTED", str(held.id))}

    @pytest.mark.parametrize(("loss", "told"), [("999", False), ("1000", True), ("1300", True)])
    def test_four_fifths_of_the_daily_loss_limit_are_told(self, engine, db, look, loss, told):
        # 5 % of 25,000 USD is the limit: 1,250 USD. Four fifths of it are 1,000 USD.
        db.execute("update profile_capital set capital_usd = 25000, realized_usd = 0, used_usd = 0")
        db.execute(
            "update profile_capital set realized_usd = %s where profile_id = %s", (f"-{loss}", engine.profiles[ALICE])
        )

        assert look() == ({("DAILY_LOSS_NEAR", str(engine.profiles[ALICE]))} if told else set())

    def test_a_loss_that_hovers_around_the_bound_is_told_once(self, engine, db, look):
        db.execute("update profile_capital set capital_usd = 25000, realized_usd = 0, used_usd = 0")
        seen = []
        for loss in ("999", "1000", "999", "1000", "901", "899", "999"):
            db.execute(
                "update profile_capital set realized_usd = %s where profile_id = %s",
                (f"-{loss}", engine.profiles[ALICE]),
            )
            seen.append(bool(look()))

        assert seen == [False, True, True, True, True, False, False]
        assert db.execute("select count(*) from alerts").fetchone() == (1,)

    def test_the_loss_of_days_before_does_not_count(self, engine, db, look):
        profile = engine.profiles[ALICE]
        db.execute(
            "update profile_capital set capital_usd = 25000, realized_usd = -1300 where profile_id = %s", (profile,)
        )
        db.execute(
            "insert into equity_daily (session_date, profile_id, owner_id, market_at, equity_usd, cash_usd,"
            " exposure_usd, realized_usd, unrealized_usd)"
            " select '2020-01-02', id, owner_id, '2020-01-02T21:00Z', 23700, 0, 0, 0, 0"
            " from profiles where id = %s",
            (profile,),
        )

        assert look() == set()


class TestRecords:
    def test_a_changed_row_of_the_audit_log_is_told_until_it_verifies_again(self, db, look):
        write_audit_rows(db, 6)
        assert look() == set()

        with unguarded(db, "audit_log"):
            db.execute("update audit_log set reason = 'forged' where id = (select min(id) + 1 from audit_log)")
        assert look() == {("AUDIT_CHAIN_BROKEN", "audit_log")}
        assert look() == {("AUDIT_CHAIN_BROKEN", "audit_log")}

        with unguarded(db, "audit_log"):
            db.execute("update audit_log set reason = 'Lunch' where reason = 'forged'")
        assert look() == set()

    @pytest.mark.parametrize("which", ["min(id) + 1", "max(id)"])
    def test_a_removed_row_is_told_wherever_it_was(self, db, look, which):
        write_audit_rows(db, 6)

        with unguarded(db, "audit_log"):
            db.execute(f"delete from audit_log where id = (select {which} from audit_log)")

        assert look() == {("AUDIT_CHAIN_BROKEN", "audit_log")}

    def test_a_log_longer_than_one_look_is_verified_round_and_round(self, db, look):
        write_audit_rows(db, 120)
        with unguarded(db, "audit_log"):
            db.execute("update audit_log set reason = 'forged' where id = (select max(id) - 3 from audit_log)")

        assert look() == set()  # the first hundred rows
        assert look() == {("AUDIT_CHAIN_BROKEN", "audit_log")}

    def test_a_live_profile_needs_an_engine_that_can_send_alerts(self, engine, db, look):
        db.execute("update profiles set trading_mode = 'live' where name = %s", (ALICE,))
        told = {("LIVE_WITHOUT_NOTIFIER", str(engine.profiles[ALICE]))}

        assert look(notifiers=0) == told
        assert look(notifiers=2) == set()
        db.execute("update private.alert_watch set notifier_seen_at = now() - interval '2 minutes'")
        assert look(notifiers=0) == told

    def test_a_paper_profile_needs_none(self, engine, look):
        assert look(notifiers=0) == set()

    def test_a_person_does_not_count_as_a_notifier(self, engine, db, sign_in, look):
        db.execute("update profiles set trading_mode = 'live' where name = %s", (ALICE,))
        commands.evaluate_alerts(sign_in("admin"), notifiers=5)

        assert ("LIVE_WITHOUT_NOTIFIER", str(engine.profiles[ALICE])) in look(notifiers=0)

    def test_a_notice_that_was_given_up_is_told_for_an_hour(self, engine, admin, db, look):
        commands.test_alert(admin)
        db.execute("update notifications set status = 'failed', ended_at = now(), last_error = 'refused'")
        assert look() == {("NOTICE_UNDELIVERED", "notifications")}
        assert "refused" in db.execute("select message from alerts").fetchone()[0]

        db.execute("update notifications set ended_at = now() - interval '61 minutes' where status = 'failed'")
        assert look() == set()

    def test_a_notice_about_undelivered_notices_does_not_keep_itself_alive(self, engine, admin, db, look):
        commands.test_alert(admin)
        db.execute("update notifications set status = 'failed', ended_at = now()")
        look()
        db.execute("update notifications set ended_at = now() - interval '61 minutes' where status = 'failed'")
        db.execute("update notifications set status = 'failed', ended_at = now() where event = 'opened'")

        assert look() == set()


class TestBounds:
    def test_the_shipped_bounds_are_those_of_the_python_model(self, engine, db):
        shipped = AlertBounds()

        found = db.execute(
            "select extract(epoch from b.paused), b.flapping_changes, extract(epoch from b.flapping_window),"
            " b.volatility, extract(epoch from b.engine_silent), extract(epoch from b.unprotected),"
            " extract(epoch from b.approval_left), b.daily_loss_fraction from private.alert_bounds() b"
        ).fetchone()

        assert found == tuple(value for _, value in shipped)

    @pytest.mark.parametrize("nonsense", ["soon", -1, None, [], {}, "NaN", 0, True])
    def test_a_bound_that_is_no_number_leaves_the_shipped_one_in_force(self, db, engine, nonsense):
        bound(db, paused_s=nonsense, flapping_changes=nonsense)

        assert db.execute(
            "select extract(epoch from b.paused)::int, b.flapping_changes from private.alert_bounds() b"
        ).fetchone() == (3600, 6)

    def test_a_section_that_is_no_object_leaves_the_shipped_bounds_in_force(self, db, engine):
        db.execute("""update risk_configs set config = config || '{"alerts": [1]}' where active""")

        assert db.execute("select (private.alert_bounds()).flapping_changes").fetchone() == (6,)


def report(engine: Engine, jobs: Any) -> None:
    engine.client.rpc(
        "heartbeat",
        {"p_shard": engine.shard, "p_token": engine.token, "p_jobs": jobs, "p_detail": {"broker_blocked": False}},
    ).execute()


def closes_swing(db: psycopg.Connection, by: str) -> None:
    """Leave three weeks of daily bars whose closes go up and down by a fraction."""
    db.execute("update profiles set symbols = array['AAPL']")
    db.execute(
        "insert into price_bars (symbol, timeframe, bar_at, open, high, low, close, volume)"
        " select 'AAPL', '1Day', '2026-01-01T21:00Z'::timestamptz + n * interval '1 day', p, p, p, p, 1"
        " from generate_series(1, 21) n cross join lateral (select 100 * (1 + %s::numeric * (n %% 2)) as p) c",
        (by,),
    )


def write_audit_rows(db: psycopg.Connection, count: int) -> None:
    for _ in range(count):
        db.execute("select private.audit('test', 'target', 'done', 'Lunch', '{}')")


def age(db: psycopg.Connection) -> None:
    """Let what was traded so far have happened a minute ago."""
    db.execute("update trades set recorded_at = recorded_at - interval '1 minute'")
    with unguarded(db, "orders"):
        db.execute("update orders set ended_at = ended_at - interval '1 minute'")


def protect(db: psycopg.Connection, qty: str) -> None:
    db.execute("update positions set protected_qty = %s", (qty,))


@contextmanager
def unguarded(db: psycopg.Connection, table: str) -> Iterator[None]:
    """Let a table be changed past its triggers."""
    db.execute(f"alter table {table} disable trigger user")
    yield
    db.execute(f"alter table {table} enable trigger user")
