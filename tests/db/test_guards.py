"""Guards of the SQL that nothing else looks at one by one: each of them, taken out, must fail a test.

`make mutants` takes them out. Where two callers meet, one of them is a transaction that is held open
here, so that the order of events is certain and no luck is needed.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest

from db import commands
from db.errors import Conflict, Forbidden, LeaseLost

ALICE = "Alice trend daily"
BOB = "Bob dips daily"


@contextmanager
def transaction_of(env: dict[str, str], **claims: str) -> Iterator[psycopg.Connection]:
    """A transaction of its own that acts with a token's claims; it commits at the end."""
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        signed_in = {"aud": "authenticated", "exp": 4_102_444_800} | claims
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(signed_in),))
        yield connection


@contextmanager
def meanwhile(db: psycopg.Connection, work: Any) -> Iterator[Future[Any]]:
    """Do `work` in a thread; the block starts once it waits for a lock, or has ended."""
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(work)
        until = monotonic() + 5
        while not doing.done() and not _someone_waits(db) and monotonic() < until:
            sleep(0.02)
        yield doing


def _someone_waits(db: psycopg.Connection) -> bool:
    return bool(db.execute("select exists (select from pg_locks where not granted)").fetchone()[0])


def member(db: psycopg.Connection, name: str) -> str:
    return str(db.execute("select user_id from members where email = %s", (f"{name}@interlock.local",)).fetchone()[0])


def state_of(db: psycopg.Connection, order_id: Any) -> str:
    return db.execute("select state::text from orders where id = %s", (order_id,)).fetchone()[0]


def reserved(db: psycopg.Connection, profile_id: Any) -> tuple[Any, ...]:
    return db.execute(
        "select reserved_usd, (select sum(o.reserved_usd) from orders o where o.profile_id = c.profile_id)"
        " from profile_capital c where profile_id = %s",
        (profile_id,),
    ).fetchone()


def approval_of(db: psycopg.Connection, order_id: Any) -> tuple[Any, str]:
    return db.execute("select id, shown_hash from operator_approvals where order_id = %s", (order_id,)).fetchone()


@pytest.fixture
def waiting(engine, db):
    """An entry that waits for a person, with its approval."""
    db.execute("update profiles set trading_mode = 'live' where id = %s", (engine.profiles[ALICE],))
    asked = engine.ask_one()
    assert asked.state == "awaiting_approval", asked
    approval_id, shown_hash = approval_of(db, asked.id)
    return asked.id, approval_id, shown_hash


class TestCapital:
    def test_two_requests_at_once_never_commit_more_than_the_capital(self, engine, env, db):
        one = engine.entry(qty="200", limit_price="100", reference_price="100")
        other = engine.entry(symbol="MSFT", qty="200", limit_price="100", reference_price="100")

        with transaction_of(env, role="service_role") as first:
            first.execute("select request_entries('main', %s, %s)", (engine.token, json.dumps([one])))
            with meanwhile(db, lambda: engine.ask(other)[0]) as second:
                first.commit()
                answer = second.result(20)

        assert answer.code == "CAPITAL_INSUFFICIENT"
        assert reserved(db, engine.profiles[ALICE])[0] == 20000

    def test_what_a_cancelled_entry_gave_back_is_not_given_back_again_by_late_news(self, engine, db):
        gone = engine.working(symbol="AAPL", limit_price="100")
        engine.working(symbol="MSFT", limit_price="100")
        engine.update(gone.says("canceled"))

        engine.update(gone.says("filled", filled="10", price="100"))

        assert reserved(db, engine.profiles[ALICE]) == (1000, 1000)

    def test_an_old_word_about_what_the_broker_has_ended_is_no_late_order(self, engine, db):
        gone = engine.working(symbol="AAPL", limit_price="100")
        engine.update(gone.says("canceled"))

        (told,) = engine.update(gone.says("new"))

        assert (told.late, told.state) == (False, "canceled")
        assert db.execute("select count(*) from reconciliation_findings").fetchone() == (0,)
        assert engine.ask_one(symbol="AAPL", limit_price="100").state == "ready"


class TestPauseAgainstTheGate:
    def test_an_entry_asked_for_during_a_pause_waits_for_it_and_is_denied(self, engine, env, db):
        with transaction_of(env, role="authenticated", sub=member(db, "admin")) as pause:
            pause.execute("select pause_trading('Stop')")
            with meanwhile(db, lambda: engine.ask_one()) as asked:
                pause.commit()
                answer = asked.result(20)

        assert answer.code == "TRADING_PAUSED"

    def test_a_claim_made_during_a_pause_waits_for_it_and_gets_nothing(self, engine, env, db):
        engine.ask_one()

        with transaction_of(env, role="authenticated", sub=member(db, "admin")) as pause:
            pause.execute("select pause_trading('Stop', p_cancel_entries => false)")
            with meanwhile(db, engine.claim) as claimed:
                pause.commit()
                permits = claimed.result(20)

        assert permits == []

    def test_a_staged_resume_holds_back_as_many_entries_as_it_says(self, engine, sign_in):
        admin = sign_in("admin")
        commands.pause_trading(admin, reason="Check")
        commands.resume_trading(admin, reason="Slowly", stage_entries=2)

        states = [engine.ask_one(symbol=symbol).state for symbol in ("AAPL", "MSFT", "IBM")]

        assert states == ["awaiting_approval", "awaiting_approval", "ready"]


class TestFencing:
    @pytest.mark.parametrize("outcome", ["accepted", "rejected", "unknown", "not_sent"])
    def test_a_stale_token_records_no_submission(self, engine, db, outcome):
        engine.ask_one()
        (permit,) = engine.claim()
        engine.token -= 1

        with pytest.raises(LeaseLost):
            engine.record(permit.id, outcome)

        engine.token += 1
        assert state_of(db, permit.id) == "submitting"

    def test_a_stale_token_takes_over_no_news(self, engine, db):
        order = engine.working()
        engine.token -= 1

        with pytest.raises(LeaseLost):
            engine.update(order.says("filled", filled="10", price="100"))

        engine.token += 1
        assert state_of(db, order.id) == "working"


class TestApprovals:
    def test_an_approval_that_runs_out_during_the_call_is_expired(self, engine, env, db, waiting):
        order_id, approval_id, shown_hash = waiting
        db.execute("update operator_approvals set expires_at = clock_timestamp() + interval '0.2 s'")

        with transaction_of(env, role="authenticated", sub=member(db, "operator")) as deciding:
            deciding.execute("select pg_sleep(0.4)")  # such as behind a lock
            answer = deciding.execute(
                "select decide_approval(%s, 'approve', null, %s)", (approval_id, shown_hash)
            ).fetchone()[0]

        assert answer["code"] == "APPROVAL_EXPIRED"
        assert state_of(db, order_id) == "approval_expired"

    @pytest.mark.parametrize("role", ["alice", "bob"])
    def test_an_analyst_decides_nothing(self, engine, sign_in, db, waiting, role):
        order_id, approval_id, shown_hash = waiting

        with pytest.raises(Forbidden, match="operators and admins"):
            commands.decide_approval(sign_in(role), approval_id=approval_id, decision="approve", shown_hash=shown_hash)

        assert state_of(db, order_id) == "awaiting_approval"

    def test_a_second_decision_is_a_conflict_and_the_first_one_stands(self, engine, sign_in, db, waiting):
        order_id, approval_id, shown_hash = waiting
        commands.decide_approval(sign_in("operator"), approval_id=approval_id, decision="reject", reason="Not now")

        for decision in ("approve", "reject"):
            with pytest.raises(Conflict, match="already rejected by operator"):
                commands.decide_approval(
                    sign_in("admin"), approval_id=approval_id, decision=decision, reason="No", shown_hash=shown_hash
                )

        assert state_of(db, order_id) == "approval_rejected"
        assert db.execute("select decided_by_email from operator_approvals").fetchone() == ("operator@interlock.local",)

    def test_the_gate_judges_again_when_an_entry_is_approved(self, engine, sign_in, db, waiting):
        order_id, approval_id, shown_hash = waiting
        commands.pause_trading(sign_in("admin"), reason="Stop", cancel_entries=False)

        decision = commands.decide_approval(
            sign_in("operator"), approval_id=approval_id, decision="approve", shown_hash=shown_hash
        )

        assert (decision.order_state, decision.code) == ("denied", "TRADING_PAUSED")
        assert state_of(db, order_id) == "denied"

    def test_an_entry_that_changed_since_it_was_shown_is_not_approved(self, engine, sign_in, db, waiting):
        order_id, approval_id, shown_hash = waiting
        db.execute("update orders set qty = qty + 1 where id = %s", (order_id,))

        with pytest.raises(Conflict, match="not what was shown"):
            commands.decide_approval(
                sign_in("operator"), approval_id=approval_id, decision="approve", shown_hash=shown_hash
            )

        assert state_of(db, order_id) == "awaiting_approval"

    def test_the_owner_of_a_profile_does_not_approve_its_entries_when_four_eyes_are_asked_for(
        self, engine, sign_in, db, waiting
    ):
        order_id, approval_id, shown_hash = waiting
        commands.update_approval_config(sign_in("admin"), patch={"four_eyes": True})
        db.execute("update members set role = 'operator' where email = 'alice@interlock.local'")

        with pytest.raises(Forbidden, match="Someone other"):
            commands.decide_approval(
                sign_in("alice"), approval_id=approval_id, decision="approve", shown_hash=shown_hash
            )

        assert state_of(db, order_id) == "awaiting_approval"


class TestRiskConfiguration:
    @pytest.mark.parametrize("role", ["operator", "alice"])
    def test_only_an_admin_changes_it(self, engine, sign_in, db, role):
        version, config = db.execute("select version, config from risk_configs where active").fetchone()

        with pytest.raises(Forbidden, match="Only an admin"):
            commands.update_risk_config(
                sign_in(role), config=config | {"note": "mine"}, expected_version=version, reason="Mine"
            )

        assert db.execute("select version from risk_configs where active").fetchone() == (version,)

    def test_a_version_that_has_passed_is_a_conflict(self, engine, sign_in, db):
        admin = sign_in("admin")
        version, config = db.execute("select version, config from risk_configs where active").fetchone()
        commands.update_risk_config(admin, config=config | {"note": "1"}, expected_version=version, reason="First")

        with pytest.raises(Conflict, match="version"):
            commands.update_risk_config(admin, config=config | {"note": "2"}, expected_version=version, reason="Late")

    def test_changing_one_approval_setting_leaves_every_other_key_alone(self, engine, sign_in, db):
        (before,) = db.execute("select config from risk_configs where active").fetchone()

        commands.update_approval_config(sign_in("admin"), patch={"approval_timeout_minutes": 7})

        (after,) = db.execute("select config from risk_configs where active").fetchone()
        before["operator_approval"]["approval_timeout_minutes"] = 7
        assert after == before


class TestLockouts:
    @pytest.mark.parametrize(
        ("shift", "locked"),
        [
            ("starts_at - interval '1 microsecond'", False),
            ("starts_at", True),
            ("expires_at - interval '1 microsecond'", True),
            ("expires_at", False),
        ],
    )
    def test_a_lockout_holds_from_its_start_until_before_its_end(self, engine, sign_in, db, shift, locked):
        commands.create_lockout(sign_in("operator"), ticker="AAPL", reason="News", duration_minutes=5)

        found = db.execute(
            "select exists (select from symbol_lockouts l cross join lateral"
            f" private.lockout_of('AAPL', 'long', %s, l.{shift}) f)",
            (engine.profiles[ALICE],),
        ).fetchone()

        assert found == (locked,)

    @pytest.mark.parametrize(("locked", "denied"), [("long", {"buy"}), ("short", {"sell"}), (None, {"buy", "sell"})])
    def test_a_lockout_of_one_side_leaves_the_other_open(self, engine, sign_in, locked, denied):
        commands.create_lockout(sign_in("operator"), ticker="AAPL", reason="News", duration_minutes=5, side=locked)

        # Two profiles: their entries on the two sides do not get in each other's way.
        bracket = {"stop_loss_price": "110", "take_profit_price": "90"}
        answers = {"buy": engine.ask_one(ALICE), "sell": engine.ask_one(BOB, side="sell", **bracket)}

        assert {side for side, answer in answers.items() if answer.code == "SYMBOL_LOCKED"} == denied


class TestAudit:
    @pytest.mark.parametrize("action", ["pause_trading", "resume_trading", "halt_trading"])
    def test_a_change_of_mode_leaves_one_row_in_its_own_transaction(self, engine, sign_in, db, action):
        admin = sign_in("admin")
        if action == "resume_trading":
            commands.pause_trading(admin, reason="Before")

        getattr(commands, action)(admin, reason="On record")

        assert db.execute(
            "select action, outcome, reason, xmin::text = (select xmin::text from trading_controls"
            " where scope = 'global') from audit_log where reason = 'On record'"
        ).fetchall() == [(action, "done", "On record", True)]

    def test_a_row_rewritten_with_a_hash_of_its_own_breaks_the_row_behind_it(self, engine, sign_in, db):
        admin = sign_in("admin")
        for turn in range(2):
            commands.pause_trading(admin, reason=f"Turn {turn}")
            commands.resume_trading(admin, reason=f"Turn {turn}")
        forged, behind = (row[0] for row in db.execute("select id from audit_log order by id limit 2 offset 1"))
        db.execute("alter table audit_log disable trigger all")
        db.execute("update audit_log set reason = 'Nobody did this' where id = %s", (forged,))
        db.execute("update audit_log a set hash = private.audit_hash(a.prev_hash, a) where id = %s", (forged,))
        db.execute(
            "update audit_log set prev_hash = (select hash from audit_log where id = %s) where id = %s",
            (forged, behind),
        )
        db.execute("alter table audit_log enable trigger all")

        proof = commands.verify_audit_chain(admin)

        assert (proof.ok, proof.first_broken_id) == (False, behind)


class TestTenants:
    @pytest.mark.parametrize("table", ["orders", "order_events", "fills", "trades", "positions", "decision_log"])
    def test_an_analyst_reads_its_own_rows_and_no_one_elses(self, engine, sign_in, db, table):
        engine.held(ALICE)
        engine.held(BOB, symbol="IBM")

        seen = {row["owner_id"] for row in sign_in("alice").table(table).select("owner_id").execute().data}

        assert seen == {member(db, "alice")}
