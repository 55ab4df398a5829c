"""The pre-flight list before a resume, and the staged resume after it."""

from decimal import Decimal

import pytest

from db import commands
from db.errors import Forbidden, Invalid, PreflightFailed


@pytest.fixture
def admin(sign_in, engine):
    return sign_in("admin")


@pytest.fixture
def paused(admin):
    commands.pause_trading(admin, reason="x")
    return admin


def failing(error: PreflightFailed) -> list[str]:
    return [item["item"] for item in error.details]


class TestItems:
    def test_everything_is_met_when_the_engine_is_well(self, engine, admin):
        preflight = commands.preflight_resume(admin)

        assert preflight.ok
        assert sorted(i.item for i in preflight.items) == [
            "BROKER_NOT_BLOCKED", "DATA_FRESH", "ENGINE_ALIVE", "NO_UNKNOWN_ORDER", "POSITIONS_PROTECTED", "RECONCILED",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("trouble", "item"),
        [
            ("update engine_heartbeats set beat_at = beat_at - interval '20 seconds'", "ENGINE_ALIVE"),
            ("delete from engine_heartbeats", "ENGINE_ALIVE"),
            ("update reconciliation_runs set finished_at = finished_at - interval '11 minutes'", "RECONCILED"),
            ("delete from reconciliation_runs", "RECONCILED"),
            ("update engine_heartbeats set started_at = now()", "RECONCILED"),  # started since, not yet compared
            ("update engine_heartbeats set detail = detail || '{\"data_age_s\": 31}'", "DATA_FRESH"),
            ("update engine_heartbeats set detail = detail - 'data_age_s'", "DATA_FRESH"),
            ("update engine_heartbeats set detail = detail || '{\"broker_blocked\": true}'", "BROKER_NOT_BLOCKED"),
            ("update engine_heartbeats set detail = detail - 'broker_blocked'", "BROKER_NOT_BLOCKED"),
        ],
    )
    def test_a_resume_is_refused_with_what_fails(self, engine, paused, db, trouble, item):
        db.execute(trouble)

        with pytest.raises(PreflightFailed, match=item) as refused:
            commands.resume_trading(paused, reason="Go on")

        assert item in failing(refused.value)
        assert commands.trading_status(paused).mode == "PAUSED"
        assert db.execute("select outcome, detail ->> 'code' from audit_log order by id desc limit 1").fetchone() == (
            "refused", "PREFLIGHT_FAILED",
        )  # fmt: skip

    def test_an_open_finding_fails_the_list(self, engine, paused):
        engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL"})

        with pytest.raises(PreflightFailed, match="RECONCILED"):
            commands.resume_trading(paused, reason="Go on")

    def test_an_unknown_order_fails_the_list(self, engine, admin):
        engine.ask_one()
        (permit,) = engine.claim()
        engine.record(permit.id, "unknown", reason="timeout")
        commands.pause_trading(admin, reason="x")

        with pytest.raises(PreflightFailed, match="NO_UNKNOWN_ORDER"):
            commands.resume_trading(admin, reason="Go on")

    def test_a_position_without_its_stop_fails_the_list_until_it_is_protected(self, engine, paused, db):
        db.execute("update trading_controls set mode = 'RUNNING'")
        held = engine.held()
        commands.pause_trading(paused, reason="x")

        with pytest.raises(PreflightFailed, match="POSITIONS_PROTECTED"):
            commands.resume_trading(paused, reason="Go on")
        mark = {"trade_id": str(held.id), "mark_price": "101", "protected_qty": "10", "market_at": "2007-01-03T15:05Z"}
        commands.record_marks(engine.client, shard="main", token=engine.token, marks=[mark])

        assert commands.resume_trading(paused, reason="Go on").changed

    def test_the_trouble_of_another_symbol_does_not_hold_one_back(self, engine, admin):
        commands.pause_trading(admin, reason="x", scope="symbol", scope_key="IBM")
        engine.reconcile({"key": "k", "kind": "POSITION_MISMATCH", "symbol": "AAPL"})

        assert commands.resume_trading(admin, reason="Go on", scope="symbol", scope_key="IBM").changed

    def test_an_override_needs_a_reason_and_is_kept_with_what_it_overrode(self, paused, db):
        db.execute("delete from engine_heartbeats")

        with pytest.raises(PreflightFailed):
            commands.resume_trading(paused, reason="Go on", override_reason="  ")
        commands.resume_trading(paused, reason="Go on", override_reason="Engine is on its way")

        detail = db.execute(
            "select detail from audit_log where action = 'resume_trading' and outcome = 'done'"
        ).fetchone()[0]
        assert detail["override_reason"] == "Engine is on its way"
        assert "ENGINE_ALIVE" in [item["item"] for item in detail["failing"]]

    def test_a_resume_of_what_runs_asks_nothing(self, admin, db):
        db.execute("delete from engine_heartbeats")

        assert not commands.resume_trading(admin, reason="Go on").changed

    def test_the_list_is_for_operators_and_admins(self, sign_in, engine):
        assert commands.preflight_resume(sign_in("operator")).ok
        with pytest.raises(Forbidden):
            commands.preflight_resume(sign_in("alice"))

    def test_an_unknown_scope_is_refused(self, admin):
        with pytest.raises(Invalid):
            commands.preflight_resume(admin, scope="symbol", scope_key="NOPE")


class TestStagedResume:
    def test_the_next_entries_need_approval_and_the_ones_after_them_do_not(self, engine, paused, db):
        commands.resume_trading(paused, reason="Carefully", stage_entries=2)

        states = [engine.ask_one(symbol=s).state for s in ("AAPL", "IBM", "GOOG")]

        assert states == ["awaiting_approval", "awaiting_approval", "ready"]
        assert db.execute("select distinct reasons from operator_approvals").fetchall() == [(["staged_resume"],)]

    def test_entries_of_one_call_are_counted_one_by_one(self, engine, paused):
        commands.resume_trading(paused, reason="Carefully", stage_entries=2)

        answers = engine.ask(*(engine.entry(p, symbol=s) for s in ("AAPL", "IBM") for p in list(engine.profiles)[:2]))

        assert [a.state for a in answers] == ["awaiting_approval", "awaiting_approval", "ready", "ready"]

    def test_what_is_denied_does_not_count(self, engine, paused):
        commands.resume_trading(paused, reason="Carefully", stage_entries=1)
        engine.ask_one(qty="300")

        assert engine.ask_one().state == "awaiting_approval"

    def test_the_next_entries_run_at_a_fraction_of_their_size(self, engine, paused, db):
        commands.resume_trading(paused, reason="Carefully", stage_entries=1, stage_fraction=Decimal("0.25"))

        first, second = engine.ask_one(qty="10"), engine.ask_one(qty="10", symbol="IBM")

        sizes = dict(db.execute("select id, (qty, reserved_usd)::text from orders").fetchall())
        assert sizes[first.id] == "(2.000000000,201.000000000)"
        assert sizes[second.id] == "(10.000000000,1005.000000000)"

    def test_less_than_one_share_is_denied(self, engine, paused):
        commands.resume_trading(paused, reason="Carefully", stage_entries=1, stage_fraction=Decimal("0.25"))

        answer = engine.ask_one(qty="3")

        assert (answer.state, answer.code) == ("denied", "STAGED_SIZE")

    def test_what_is_left_is_shown_and_ends_with_the_next_change(self, engine, paused):
        commands.resume_trading(paused, reason="Carefully", stage_entries=3)
        engine.ask_one()
        stage = commands.trading_status(paused).stage
        assert stage is not None and (stage.entries_left, stage.fraction) == (2, None)

        commands.pause_trading(paused, reason="Again")

        assert commands.trading_status(paused).stage is None

    def test_a_staged_symbol_leaves_the_others_at_full_size(self, engine, admin):
        commands.pause_trading(admin, reason="x", scope="symbol", scope_key="AAPL")
        commands.resume_trading(admin, reason="Carefully", scope="symbol", scope_key="AAPL", stage_entries=5)

        assert engine.ask_one(symbol="IBM").state == "ready"
        assert engine.ask_one(symbol="AAPL").state == "awaiting_approval"

    @pytest.mark.parametrize(
        ("stage", "says"),
        [
            ({"stage_entries": 0}, "between 1 and 10,000"),
            ({"stage_entries": -1}, "between 1 and 10,000"),
            ({"stage_fraction": Decimal("0.5")}, "needs the number of entries"),
            ({"stage_entries": 1, "stage_fraction": Decimal(1)}, "between 0 and 1"),
            ({"stage_entries": 1, "stage_fraction": Decimal(0)}, "between 0 and 1"),
            ({"stage_entries": 1, "stage_fraction": Decimal("NaN")}, "between 0 and 1"),
        ],
    )
    def test_a_stage_that_makes_no_sense_is_refused(self, paused, stage, says):
        with pytest.raises(Invalid, match=says):
            commands.resume_trading(paused, reason="Carefully", **stage)

        assert commands.trading_status(paused).mode == "PAUSED"


def test_the_history_tells_how_long_each_change_lasted(engine, paused, sign_in, db):
    db.execute("alter table trading_control_events disable trigger user")
    db.execute("update trading_control_events set changed_at = changed_at - interval '90 seconds'")
    db.execute("alter table trading_control_events enable trigger user")
    commands.resume_trading(paused, reason="Done")

    rows = (
        sign_in("alice")
        .table("trading_control_history")
        .select("to_mode,duration_s,ended_at")
        .order("id")
        .execute()
        .data
    )

    assert [(r["to_mode"], r["ended_at"] is None) for r in rows] == [("PAUSED", False), ("RUNNING", True)]
    assert 90 <= rows[0]["duration_s"] < 120
