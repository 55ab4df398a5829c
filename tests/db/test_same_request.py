"""A request id belongs to one request: sent again with other arguments it is refused, and nothing happens."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db import commands
from db.errors import Conflict

ALICE = "Alice trend daily"
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def pending(engine, sign_in, db) -> list[UUID]:
    """Two entries that wait for a decision: their approvals."""
    commands.update_approval_config(sign_in("admin"), patch={"auto_approve_paper": False})
    engine.ask(engine.entry(symbol="AAPL"), engine.entry(symbol="IBM"))
    return [row[0] for row in db.execute("select id from operator_approvals order by symbol").fetchall()]


def everything(db: Any) -> Any:
    """What a control function can have changed, and how often one was done."""
    return db.execute(
        "select (select count(*) from audit_log where outcome = 'done'),"
        " (select jsonb_agg(to_jsonb(c) order by c.scope, c.scope_key) from trading_controls c),"
        " (select jsonb_agg(to_jsonb(a) order by a.id) from operator_approvals a),"
        " (select jsonb_agg(to_jsonb(f) order by f.id) from profiles f),"
        " (select jsonb_agg(to_jsonb(m) order by m.user_id) from members m)"
    ).fetchone()


def refused_the_second_time(db: Any, function: Any, client: Any, first: dict[str, Any], other: dict[str, Any]) -> bool:
    request = uuid4()
    answer = function(client, **first, request_id=request)
    before = everything(db)

    assert function(client, **first, request_id=request) == answer or function is commands.pause_trading
    with pytest.raises(Conflict, match="already used for something else"):
        function(client, **(first | other), request_id=request)

    return everything(db) == before


class TestOtherArguments:
    def test_an_approval_that_was_approved_is_not_reported_as_rejected(self, engine, sign_in, db, pending):
        first = {"approval_id": pending[0], "decision": "approve", "reason": "Fine"}

        assert refused_the_second_time(db, commands.decide_approval, sign_in("operator"), first, {"decision": "reject"})

    @pytest.mark.parametrize("other", ["decision", "ids"])
    def test_other_approvals_are_not_answered_with_those_that_were_decided(self, engine, sign_in, db, pending, other):
        first = {"approval_ids": pending[:1], "decision": "approve", "reason": "Fine"}
        changed = {"decision": {"decision": "reject"}, "ids": {"approval_ids": pending[1:]}}[other]

        assert refused_the_second_time(db, commands.decide_approvals, sign_in("operator"), first, changed)

    @pytest.mark.parametrize("other", [{"resume_at": LATER}, {"cancel_entries": False}, {"reason_code": "news"}])
    def test_a_pause_is_not_answered_with_another_one(self, engine, sign_in, db, other):
        assert refused_the_second_time(db, commands.pause_trading, sign_in("admin"), {"reason": "Now"}, other)

    def test_a_profile_is_not_switched_on_by_the_request_that_switched_it_off(self, engine, sign_in, db):
        first = {"profile_id": engine.profiles[ALICE], "active": False, "reason": "Tired"}

        assert refused_the_second_time(db, commands.set_profile_active, sign_in("admin"), first, {"active": True})

    def test_a_role_is_not_another_role(self, engine, sign_in, db):
        (bob,) = db.execute("select user_id from members where email like 'bob@%'").fetchone()
        first = {"user_id": bob, "role": "operator", "reason": "Helps"}

        assert refused_the_second_time(db, commands.set_member_role, sign_in("admin"), first, {"role": "admin"})

    @pytest.mark.parametrize("other", [{"duration_minutes": 90}, {"side": "long"}, {"lockout_type": "news_shock"}])
    def test_a_lockout_is_not_another_lockout(self, engine, sign_in, db, other):
        first = {"ticker": "AAPL", "reason": "News", "duration_minutes": 30}

        assert refused_the_second_time(db, commands.create_lockout, sign_in("operator"), first, other)

    @pytest.mark.parametrize("other", [{"minutes": 1440}, {"symbol": "AAPL"}])
    def test_an_override_is_not_another_override(self, engine, sign_in, db, other):
        first = {"profile_id": engine.profiles[ALICE], "code": "DRAWDOWN", "reason": "Agreed", "minutes": 5}

        assert refused_the_second_time(db, commands.grant_override, sign_in("admin"), first, other)

    @pytest.mark.parametrize("other", [{"weekdays": [1, 2]}, {"start_time": time(10)}, {"mode": "HALTED"}])
    def test_a_plan_is_not_another_plan(self, engine, sign_in, db, other):
        first = {"mode": "PAUSED", "kind": "weekly", "reason": "Opening", "weekdays": [6], "start_time": time(9),
                 "end_time": time(9, 30)}  # fmt: skip

        assert refused_the_second_time(db, commands.schedule_trading_mode, sign_in("admin"), first, other)

    def test_a_configuration_is_not_another_configuration(self, engine, sign_in, db):
        version, config = db.execute("select version, config from risk_configs where active").fetchone()
        first = {"config": config | {"own": 1}, "expected_version": version, "reason": "Mine"}

        assert refused_the_second_time(
            db, commands.update_risk_config, sign_in("admin"), first, {"config": config | {"own": 2}}
        )


def test_a_request_that_was_refused_may_be_sent_again_corrected(engine, sign_in, db):
    admin, request = sign_in("admin"), uuid4()
    with pytest.raises(Exception, match="reason"):
        commands.pause_trading(admin, reason=" ", request_id=request)

    assert commands.pause_trading(admin, reason="Now", request_id=request).changed
