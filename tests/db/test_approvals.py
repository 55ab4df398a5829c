"""Approvals: created after risk, decided once, judged again at the release."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from db import commands
from db.errors import Conflict, Forbidden, Invalid, NotFound

EVE = "Alice trend daily"


@pytest.fixture
def asks(sign_in, engine):
    """Change the approval rules for one test."""

    def change(**patch: Any):
        return commands.update_approval_config(sign_in("admin"), patch=patch)

    change(auto_approve_paper=False)
    return change


@pytest.fixture
def pending(engine, asks, db):
    """An entry that waits for a decision: (approval id, order id)."""
    answer = engine.ask_one()
    assert answer.state == "awaiting_approval"
    return db.execute("select id, order_id from operator_approvals").fetchone()


def order_of(db, id) -> tuple[str, str | None]:
    return db.execute("select state::text, code from orders where id = %s", (id,)).fetchone()


def reserved(db) -> Any:
    return db.execute("select sum(reserved_usd) from profile_capital").fetchone()[0]


class TestCreation:
    def test_an_entry_that_fails_its_risk_checks_is_denied_and_never_asked_about(self, engine, asks, db):
        answer = engine.ask_one(qty="300")

        assert answer.code == "ORDER_NOTIONAL_MAX"
        assert db.execute("select count(*) from operator_approvals").fetchone() == (0,)

    def test_a_waiting_entry_holds_its_capital_and_cannot_be_claimed(self, engine, pending, db):
        assert reserved(db) == 1005
        assert engine.claim() == []

    @pytest.mark.parametrize(
        ("rule", "changes", "reasons"),
        [
            ({"notional_above_usd": "1000"}, {}, ["notional"]),
            ({"notional_above_usd": "1006"}, {}, []),
            ({"first_trade_in_symbol": True}, {}, ["first_trade"]),
            ({"off_hours": True}, {"market_open": False}, ["off_hours"]),
            ({"off_hours": True}, {"market_open": True}, []),
            ({"after_loss_streak": 1}, {}, []),
        ],
    )
    def test_the_rules_decide_which_entries_are_asked_about(self, engine, asks, db, rule, changes, reasons):
        asks(auto_approve_paper=True, **rule)

        answer = engine.ask_one(**changes)

        assert answer.state == ("awaiting_approval" if reasons else "ready")
        rows = db.execute("select reasons from operator_approvals").fetchall()
        assert rows == ([(reasons,)] if reasons else [])

    def test_a_second_trade_in_a_symbol_is_not_its_first(self, engine, asks):
        asks(auto_approve_paper=True)
        engine.held()
        asks(first_trade_in_symbol=True)

        assert engine.ask_one(symbol="AAPL", side="sell").code != "awaiting_approval"
        assert engine.ask_one(symbol="IBM").state == "awaiting_approval"


class TestDecision:
    def test_an_approved_entry_is_released_and_the_record_says_by_whom_and_why(self, engine, sign_in, pending, db):
        decision = commands.decide_approval(
            sign_in("operator"), approval_id=pending[0], decision="approve", reason="Looks right"
        )

        assert (decision.status, decision.order_state) == ("approved", "ready")
        row = db.execute("select status, decided_by_email, decision_reason from operator_approvals").fetchone()
        assert row == ("approved", "operator@interlock.local", "Looks right")
        audited = db.execute("select actor_email, outcome from audit_log where action = 'decide_approval'").fetchall()
        assert audited == [("operator@interlock.local", "done")]
        assert [o.id for o in engine.claim()] == [pending[1]]

    def test_a_rejected_entry_ends_and_gives_its_capital_back(self, engine, sign_in, pending, db):
        commands.decide_approval(sign_in("operator"), approval_id=pending[0], decision="reject", reason="Too risky")

        assert order_of(db, pending[1])[0] == "approval_rejected"
        assert reserved(db) == 0
        assert engine.claim() == []

    def test_a_rejection_needs_a_reason(self, sign_in, pending, db):
        with pytest.raises(Invalid, match="reason"):
            commands.decide_approval(sign_in("operator"), approval_id=pending[0], decision="reject")

        assert order_of(db, pending[1])[0] == "awaiting_approval"

    def test_what_is_decided_is_decided(self, sign_in, pending, db):
        commands.decide_approval(sign_in("operator"), approval_id=pending[0], decision="reject", reason="No")

        with pytest.raises(Conflict, match="already rejected by operator"):
            commands.decide_approval(sign_in("admin"), approval_id=pending[0], decision="approve")

        assert order_of(db, pending[1])[0] == "approval_rejected"

    def test_nothing_is_decided_after_its_time_by_the_databases_clock(self, engine, sign_in, pending, db):
        db.execute("update operator_approvals set expires_at = clock_timestamp()")

        with pytest.raises(Conflict, match="run out") as refused:
            commands.decide_approval(sign_in("operator"), approval_id=pending[0], decision="approve")

        assert refused.value.code == "APPROVAL_EXPIRED"
        assert order_of(db, pending[1])[0] == "approval_expired"
        assert db.execute("select status from operator_approvals").fetchone() == ("expired",)

    def test_approvals_that_ran_out_are_ended_by_the_engine_with_their_capital(self, engine, pending, db):
        db.execute("update operator_approvals set expires_at = clock_timestamp()")

        assert commands.expire_stale_approvals(engine.client, shard="main", token=engine.token) == 1

        assert order_of(db, pending[1])[0] == "approval_expired"
        assert reserved(db) == 0

    def test_an_approval_outlives_the_time_to_send_an_entry(self, engine, sign_in, pending, db):
        db.execute("update orders set created_at = created_at - interval '10 minutes'")

        commands.decide_approval(sign_in("operator"), approval_id=pending[0], decision="approve")

        assert [o.id for o in engine.claim()] == [pending[1]]

    def test_an_analyst_cannot_decide_and_the_attempt_is_recorded(self, sign_in, pending, db):
        with pytest.raises(Forbidden):
            commands.decide_approval(sign_in("alice"), approval_id=pending[0], decision="approve")

        assert order_of(db, pending[1])[0] == "awaiting_approval"
        assert db.execute("select outcome from audit_log where actor_email like 'alice%'").fetchall() == [("refused",)]

    def test_an_unknown_approval_is_not_found(self, sign_in, engine):
        with pytest.raises(NotFound):
            commands.decide_approval(sign_in("operator"), approval_id=uuid4(), decision="approve")

    def test_the_same_request_sent_twice_decides_once_and_answers_the_same(self, sign_in, pending, db):
        request_id = uuid4()

        answers = [
            commands.decide_approval(
                sign_in("operator"), approval_id=pending[0], decision="approve", request_id=request_id
            )
            for _ in range(2)
        ]

        assert answers[0] == answers[1]
        assert db.execute("select count(*) from audit_log where action = 'decide_approval'").fetchone() == (1,)


class TestRelease:
    @pytest.mark.parametrize(
        ("meanwhile", "code"),
        [
            ("update profiles set broker_account = 'other'", None),
            ("update profile_capital set used_usd = 24999 where reserved_usd > 0", "CAPITAL_INSUFFICIENT"),
            ("update risk_configs set config = jsonb_set(config, '{order_limits,qty_max}', '5')", "ORDER_QTY_MAX"),
            ("update risk_configs set config = config #- '{order_limits,qty_max}' where active", "LIMIT_NOT_SET"),
        ],
    )  # fmt: skip
    def test_the_gate_judges_again_at_the_release(self, sign_in, pending, db, meanwhile, code):
        db.execute(meanwhile)
        decide = {"approval_id": pending[0], "decision": "approve"}

        if code is None:  # in another account it is another entry than was shown
            with pytest.raises(Conflict, match="not what was shown"):
                commands.decide_approval(sign_in("operator"), **decide)
            assert order_of(db, pending[1])[0] == "awaiting_approval"
            return
        decision = commands.decide_approval(sign_in("operator"), **decide)

        assert (decision.status, decision.order_state, decision.code) == ("denied", "denied", code)
        assert reserved(db) == 0
        assert db.execute("select outcome, code from decision_log order by id desc limit 1").fetchone() == (
            "denied",
            code,
        )

    def test_an_entry_that_was_asked_while_the_market_was_open_is_released_as_such(self, engine, sign_in, asks, db):
        db.execute(
            "update risk_configs set config = jsonb_set(config, '{market_hours,entries_when_closed}', 'false')"
            " where active"
        )
        order = engine.ask_one(market_open=True).id
        (approval,) = db.execute("select id from operator_approvals").fetchone()

        commands.decide_approval(sign_in("operator"), approval_id=approval, decision="approve")

        assert order_of(db, order) == ("ready", None)

    def test_its_own_reservation_does_not_count_against_an_entry_at_the_release(self, engine, sign_in, asks, db):
        engine.ask_one(qty="240", limit_price="100")  # 24,000 of 25,000
        (approval,) = db.execute("select id from operator_approvals").fetchone()

        assert commands.decide_approval(sign_in("operator"), approval_id=approval, decision="approve").code is None

    def test_an_entry_that_differs_from_what_was_shown_is_not_approved(self, sign_in, pending):
        with pytest.raises(Conflict, match="not what was shown"):
            commands.decide_approval(
                sign_in("operator"), approval_id=pending[0], decision="approve", shown_hash="something else"
            )

    def test_what_was_shown_can_be_approved_by_its_hash(self, sign_in, pending, db):
        (shown,) = db.execute("select shown_hash from operator_approvals").fetchone()

        decision = commands.decide_approval(
            sign_in("operator"), approval_id=pending[0], decision="approve", shown_hash=shown
        )

        assert decision.status == "approved"

    def test_a_lockout_meanwhile_ends_the_wait(self, sign_in, pending, db):
        commands.create_lockout(sign_in("operator"), ticker="aapl", reason="Earnings")

        assert order_of(db, pending[1])[0] == "canceled"
        assert db.execute("select status from operator_approvals").fetchone() == ("canceled",)

    def test_a_pause_that_keeps_entries_still_blocks_the_release(self, sign_in, pending):
        commands.pause_trading(sign_in("admin"), reason="x", cancel_entries=False)

        decision = commands.decide_approval(sign_in("operator"), approval_id=pending[0], decision="approve")

        assert (decision.status, decision.code) == ("denied", "TRADING_PAUSED")


class TestFourEyes:
    @pytest.fixture
    def alices_own(self, asks, engine, db):
        """Alice, an operator now, with an entry of her own waiting."""
        asks(four_eyes=True)
        engine.ask_one(EVE)
        db.execute("update members set role = 'operator' where email like 'alice%'")
        yield db.execute("select id from operator_approvals").fetchone()[0]
        db.execute("update members set role = 'analyst' where email like 'alice%'")

    def test_nobody_approves_an_entry_of_its_own_profile(self, sign_in, alices_own):
        with pytest.raises(Forbidden, match="other than the profile's owner"):
            commands.decide_approval(sign_in("alice"), approval_id=alices_own, decision="approve")

        decision = commands.decide_approval(sign_in("operator"), approval_id=alices_own, decision="approve")
        assert decision.status == "approved"

    def test_an_owner_may_reject_its_own_entry(self, sign_in, alices_own):
        decision = commands.decide_approval(sign_in("alice"), approval_id=alices_own, decision="reject", reason="Mine")

        assert decision.status == "rejected"


class TestBulk:
    def test_each_decision_stands_or_falls_by_itself(self, engine, sign_in, asks, db):
        engine.ask(*(engine.entry(symbol=s) for s in ("AAPL", "IBM", "GOOG")))
        ids = {symbol: id for id, symbol in db.execute("select id, symbol from operator_approvals").fetchall()}
        db.execute("update operator_approvals set expires_at = clock_timestamp() where symbol = 'IBM'")

        decisions = commands.decide_approvals(
            sign_in("operator"), approval_ids=[ids["AAPL"], ids["IBM"], uuid4(), ids["GOOG"]], decision="approve"
        )

        assert [d.success for d in decisions] == [True, False, False, True]
        assert [d.code for d in decisions] == [None, "APPROVAL_EXPIRED", "NOT_FOUND", None]
        assert sorted(o.symbol for o in engine.claim()) == ["AAPL", "GOOG"]

    def test_an_empty_choice_is_refused(self, sign_in, engine):
        with pytest.raises(Invalid, match="between 1 and 500"):
            commands.decide_approvals(sign_in("operator"), approval_ids=[], decision="approve")


def test_an_approval_expires_after_the_configured_minutes(engine, asks, db):
    asks(approval_timeout_minutes=3)

    engine.ask_one()

    assert db.execute("select expires_at - requested_at from operator_approvals").fetchone() == (timedelta(minutes=3),)


class TestWhatItWouldSayNow:
    def test_the_checks_now_are_those_that_the_release_goes_by_and_nothing_is_noted(self, engine, pending, sign_in, db):
        admin = sign_in("admin")
        noted = db.execute("select count(*) from decision_log").fetchone()

        now = commands.approval_checks(admin, approval_id=pending[0])

        assert now.code is None
        assert db.execute("select count(*) from decision_log").fetchone() == noted
        commands.decide_approval(admin, approval_id=pending[0], decision="approve")
        released = db.execute("select checks from decision_log order by id desc limit 1").fetchone()[0]
        assert [(c["name"], c["passed"]) for c in now.checks] == [(c["name"], c["passed"]) for c in released]
        clock = {"ORDER_RATE", "SIGNAL_STALE", "QUOTE_STALE"}
        assert [c for c in now.checks if c["name"] not in clock] == [c for c in released if c["name"] not in clock]

    def test_what_has_changed_meanwhile_is_told_before_anyone_decides(self, pending, sign_in):
        admin = sign_in("admin")
        commands.pause_trading(admin, reason="Look", cancel_entries=False)

        assert commands.approval_checks(admin, approval_id=pending[0]).code == "TRADING_PAUSED"

    def test_who_does_not_decide_is_not_told_and_what_is_over_is_not_there(self, pending, sign_in):
        with pytest.raises(Forbidden):
            commands.approval_checks(sign_in("alice"), approval_id=pending[0])
        commands.decide_approval(sign_in("admin"), approval_id=pending[0], decision="reject", reason="No")
        with pytest.raises(NotFound):
            commands.approval_checks(sign_in("admin"), approval_id=pending[0])
