"""Control, approvals and lockouts as each role finds them, and what a click does in the real database."""

from datetime import datetime
from typing import Any

import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from db import commands
from tests.integration.pages.conftest import OpenPage
from tests.support.clients import SignIn
from tests.support.story import Story

CONTROL, APPROVALS, LOCKOUTS = "operate/control.py", "operate/approvals.py", "operate/lockouts.py"


def keys(app: AppTest, beginning: str) -> list[str]:
    return [button.key for button in app.button if (button.key or "").startswith(beginning)]


def told(app: AppTest) -> str:
    """Return everything that the page tells in messages, as it is read."""
    return "\n".join(message.value.replace("\\", "") for kind in (app.success, app.error, app.info) for message in kind)


def shown(app: AppTest) -> str:
    """Return every text on the page, small print included."""
    bodies = [element.proto.body for element in app.get("html")]
    return "\n".join([*bodies, *(text.value for text in app.markdown), told(app)])


@pytest.fixture
def waiting(story: Story, sign_in: SignIn) -> Story:
    """A story in which paper entries wait for a person, and two do."""
    commands.update_approval_config(sign_in("admin"), patch={"auto_approve_paper": False})
    assert story.ask("Alice trend daily", "AAPL").state == "awaiting_approval"
    assert story.ask("Bob dips daily", "IBM", qty="3").state == "awaiting_approval"
    return story


def status_of(db: psycopg.Connection, symbol: str) -> tuple[Any, ...]:
    row = db.execute(
        "select a.status::text, o.state::text, a.decision_reason, a.decided_by_email from operator_approvals a"
        " join orders o on o.id = a.order_id where a.symbol = %s", (symbol,),
    ).fetchone()  # fmt: skip
    assert row is not None
    return row


class TestWhoIsOfferedWhat:
    @pytest.mark.parametrize(
        ("name", "pages"),
        [("admin", {CONTROL, APPROVALS, LOCKOUTS}), ("operator", {APPROVALS, LOCKOUTS}), ("alice", {LOCKOUTS})],
    )
    def test_menu_holds_the_pages_of_the_role(
        self, name: str, pages: set[str], story: Story, open_page: OpenPage
    ) -> None:
        offered = set()
        for page in (CONTROL, APPROVALS, LOCKOUTS):
            try:
                app = open_page(name, page)
            except ValueError:  # the frame does not know the page
                continue
            assert not app.exception
            assert not app.error
            offered.add(page)

        assert offered == pages

    def test_analyst_sees_lockouts_and_can_change_none(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Rumour")

        app = open_page("alice", LOCKOUTS)

        assert "**IBM**" in shown(app)
        assert "Rumour" in shown(app)
        assert keys(app, "remove_") == keys(app, "lockout_send") == []

    def test_operator_sees_the_switch_and_cannot_turn_it(self, story: Story, open_page: OpenPage) -> None:
        app = open_page("operator", APPROVALS)

        assert "**Auto-approve paper orders**" in shown(app)
        assert keys(app, "switch_") == []


class TestResume:
    def test_it_is_refused_in_plain_words_and_can_be_overridden(
        self, story: Story, open_page: OpenPage, sign_in: SignIn, db: psycopg.Connection
    ) -> None:
        commands.pause_trading(sign_in("admin"), reason="Check")
        story.report(broker_blocked=True, data_age_s=1)
        app = open_page("admin", CONTROL)
        assert keys(app, "control_override") == []
        app.text_area(key="control_reason").set_value("Checked")
        app.button(key="control_resume").click().run()

        assert "The broker blocks the account" in shown(app)
        assert "Trading was not resumed. The broker blocks the account" in told(app)
        assert commands.trading_status(sign_in("admin")).mode == "PAUSED"
        app.text_input(key="control_override").set_value("Phoned the broker")
        app.button(key="control_override_resume").click().run()

        assert commands.trading_status(sign_in("admin")).mode == "RUNNING"
        audited = db.execute(
            "select reason, detail ->> 'override_reason' from audit_log where action = 'resume_trading'"
            " and outcome = 'done' order by id desc limit 1"
        ).fetchone()
        assert audited == ("Checked", "Phoned the broker")
        assert "you set all trading to RUNNING" in told(app)

    def test_override_needs_its_own_reason(self, story: Story, open_page: OpenPage, sign_in: SignIn) -> None:
        commands.pause_trading(sign_in("admin"), reason="Check")
        story.report(broker_blocked=True)
        app = open_page("admin", CONTROL)
        app.text_area(key="control_reason").set_value("Checked")
        app.button(key="control_resume").click().run()

        app.button(key="control_override_resume").click().run()

        assert "Say why it is safe" in told(app)
        assert commands.trading_status(sign_in("admin")).mode == "PAUSED"

    def test_first_entries_are_held_back_when_it_is_staged(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        commands.pause_trading(sign_in("admin"), reason="Check")
        app = open_page("admin", CONTROL)
        app.text_area(key="control_reason").set_value("Carefully")
        app.number_input(key="control_stage_entries").set_value(3)
        app.selectbox(key="control_stage_how").set_value("At 25 % of their size")
        story.beat()

        app.button(key="control_resume").click().run()

        stage = commands.trading_status(sign_in("admin")).stage
        assert stage is not None
        assert (stage.entries_left, float(stage.fraction or 0)) == (3, 0.25)
        assert "the next 3 entries run at 25 % of their size" in told(app)


class TestPause:
    def test_one_symbol_is_paused_when_it_is_chosen(self, story: Story, open_page: OpenPage, sign_in: SignIn) -> None:
        app = open_page("admin", CONTROL)
        app.get_by_key("scope").set_value("Symbol").run()
        app.selectbox(key="scope_symbol").set_value("IBM").run()
        app.text_area(key="control_reason").set_value("Earnings")
        app.selectbox(key="control_kind").set_value("news")
        assert "If you pause IBM now" in shown(app)

        app.button(key="control_pause").click().run()

        status = commands.trading_status(sign_in("admin"))
        assert (status.mode, [(scope.scope_key, scope.mode, scope.reason_code) for scope in status.scopes]) == (
            "RUNNING", [("IBM", "PAUSED", "news")],
        )  # fmt: skip
        assert "If you pause IBM now" not in shown(app)
        assert "you set IBM to PAUSED" in told(app)
        assert app.button(key="control_pause").disabled
        assert not app.button(key="control_resume").disabled

    def test_past_resume_time_is_refused_and_what_was_typed_stays(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        app = open_page("admin", CONTROL)
        app.text_area(key="control_reason").set_value("Lunch")
        app.session_state["control_resume_at"] = datetime.fromisoformat("2020-01-01 12:00")

        app.button(key="control_pause").click().run()

        assert "already passed" in told(app)
        assert app.text_area(key="control_reason").value == "Lunch"
        assert commands.trading_status(sign_in("admin")).mode == "RUNNING"


class TestPlans:
    def test_weekly_window_is_planned_shown_and_withdrawn(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("admin", CONTROL)
        app.get_by_key("plan_weekdays").set_value(["Fri"])
        app.text_input(key="plan_reason").set_value("Thin Fridays")
        app.button(key="plan_send").click().run()

        assert "Pause all trading every Fri" in shown(app)
        (send,) = keys(app, "withdraw_")
        app.text_input(key=send.removesuffix("_send")).set_value("Thick again")
        app.button(key=send).click().run()

        assert keys(app, "withdraw_") == []
        assert db.execute("select active, cancel_reason from control_schedules").fetchall() == [(False, "Thick again")]

    def test_dates_are_planned_around_earnings(self, story: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        app = open_page("admin", CONTROL)
        app.get_by_key("plan_scope").set_value("Symbol").run()
        app.selectbox(key="plan_scope_symbol").set_value("IBM").run()
        app.get_by_key("plan_kind").set_value("Around dates").run()
        app.text_input(key="plan_dates").set_value("2030-01-28, 2030-04-29")
        app.number_input(key="plan_before").set_value(1)
        app.text_input(key="plan_reason").set_value("Earnings")

        app.button(key="plan_send").click().run()

        planned = db.execute(
            "select scope_key, kind::text, dates::text, days_before from control_schedules where active"
        ).fetchone()
        assert planned == ("IBM", "dates", "{2030-01-28,2030-04-29}", 1)

    def test_condition_is_planned_in_fractions(self, story: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        app = open_page("admin", CONTROL)
        app.get_by_key("plan_kind").set_value("On a condition").run()
        app.number_input(key="plan_bound").set_value(12.5)
        app.checkbox(key="plan_resumes").set_value(True)
        app.text_input(key="plan_reason").set_value("Enough")

        app.button(key="plan_send").click().run()

        assert db.execute("select condition, resume_condition from control_schedules where active").fetchone() == (
            {"metric": "drawdown", "above": 0.125}, {"metric": "drawdown", "below": 0.125},
        )  # fmt: skip

    def test_one_window_is_planned_in_the_chosen_zone(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("admin", CONTROL)
        app.get_by_key("plan_kind").set_value("Once").run()
        app.session_state["plan_starts"] = datetime.fromisoformat("2030-01-07 09:30")
        app.session_state["plan_ends"] = datetime.fromisoformat("2030-01-07 10:00")
        app.text_input(key="plan_reason").set_value("Maintenance")

        app.button(key="plan_send").click().run()

        starts, ends = db.execute("select starts_at, ends_at from control_schedules where active").fetchone() or ()
        assert (starts.isoformat(), ends.isoformat()) == ("2030-01-07T14:30:00+00:00", "2030-01-07T15:00:00+00:00")

    def test_nothing_is_planned_when_the_day_is_none(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("admin", CONTROL)
        app.get_by_key("plan_kind").set_value("Around dates").run()
        app.text_input(key="plan_dates").set_value("next Tuesday")
        app.text_input(key="plan_reason").set_value("Earnings")

        app.button(key="plan_send").click().run()

        assert "next is no date" in told(app)
        assert db.execute("select count(*) from control_schedules").fetchone() == (0,)


class TestApprovals:
    def test_operator_approves_one(self, waiting: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        app = open_page("operator", APPROVALS)
        assert "orders of this kind need approval" in shown(app)
        assert "when it was asked" in shown(app)
        app = app.toggle[0].set_value(True).run()
        assert "Now: every check passes." in shown(app)
        approve = next(button for button in keys(app, "approve_") if button)

        app.button(key=approve).click().run()

        assert "Approved: Buy" in told(app)
        decided = db.execute("select status::text, decided_by_email from operator_approvals where status <> 'pending'")
        assert decided.fetchall() == [("approved", "operator@interlock.local")]
        assert len(keys(app, "approve_")) == 1

    def test_rejection_needs_a_reason_and_keeps_it(
        self, waiting: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", APPROVALS)
        (id_,) = db.execute("select id::text from operator_approvals where symbol = 'IBM'").fetchone() or ()

        app.button(key=f"reject_{id_}").click().run()
        assert "To reject an entry, say why" in told(app)
        app.text_input(key=f"reject_why_{id_}").set_value("Too close to earnings")
        app.button(key=f"reject_{id_}").click().run()

        assert status_of(db, "IBM") == (
            "rejected", "approval_rejected", "Too close to earnings", "operator@interlock.local",
        )  # fmt: skip
        assert status_of(db, "AAPL")[0] == "pending"

    def test_several_are_rejected_at_once(self, waiting: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        app = open_page("admin", APPROVALS)
        assert app.button(key="bulk_reject").disabled

        app.button(key="bulk_all").click().run()
        app.text_input(key="approvals_reason").set_value("Not today").run()
        app.button(key="bulk_reject").click().run()

        assert {status_of(db, symbol)[:3] for symbol in ("AAPL", "IBM")} == {
            ("rejected", "approval_rejected", "Not today")
        }
        assert "2 × Rejected" in told(app)
        assert "Nothing waits for a decision." in told(app)

    def test_gate_says_no_at_the_release_when_the_capital_was_used_meanwhile(
        self, waiting: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", APPROVALS)
        (id_,) = db.execute("select id::text from operator_approvals where symbol = 'AAPL'").fetchone() or ()
        db.execute("update profile_capital set used_usd = capital_usd - reserved_usd + 1 where reserved_usd > 0")

        app.button(key=f"approve_{id_}").click().run()

        assert "the gate said no at the release" in told(app)
        assert status_of(db, "AAPL")[:2] == ("denied", "denied")

    def test_decision_that_came_too_late_changes_nothing(
        self, waiting: Story, open_page: OpenPage, sign_in: SignIn, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", APPROVALS)
        (id_,) = db.execute("select id from operator_approvals where symbol = 'AAPL'").fetchone() or ()
        commands.decide_approval(sign_in("admin"), approval_id=id_, decision="reject", reason="First")

        app.button(key=f"approve_{id_}").click().run()

        assert "already rejected" in told(app)
        assert status_of(db, "AAPL")[:3] == ("rejected", "approval_rejected", "First")


class TestSwitch:
    def test_admin_requires_approval_after_a_confirmation(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        app = open_page("admin", APPROVALS)
        app.button(key="switch_paper").click().run()
        assert commands.approval_config(sign_in("admin"))["auto_approve_paper"] is True
        app.text_input(key="switch_reason").set_value("Human calls the final shot")

        app.button(key="switch_confirm").click().run()

        assert commands.approval_config(sign_in("admin"))["auto_approve_paper"] is False
        assert "**Require approval for paper orders**" in shown(app)
        assert keys(app, "switch_confirm") == []
        assert story.ask("Alice trend daily", "AAPL").state == "awaiting_approval"

    def test_nothing_changes_when_the_admin_thinks_better_of_it(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        app = open_page("admin", APPROVALS)
        app.button(key="switch_paper").click().run()

        app.button(key="switch_cancel").click().run()

        assert keys(app, "switch_confirm") == []
        assert commands.approval_config(sign_in("admin"))["auto_approve_paper"] is True


class TestLockouts:
    def test_symbol_is_locked_out_and_the_form_is_empty_again(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", LOCKOUTS)
        assert app.number_input(key="lockout_minutes").value == 60
        app.text_input(key="lockout_ticker").set_value("ibm")
        app.text_input(key="lockout_reason").set_value("Rumour")
        app.number_input(key="lockout_minutes").set_value(90)
        app.selectbox(key="lockout_side").set_value("Long entries")

        app.button(key="lockout_send").click().run()

        held = db.execute("select ticker, side::text, reason, expires_at - starts_at = '90 min' from symbol_lockouts")
        assert held.fetchall() == [("IBM", "long", "Rumour", True)]
        assert app.text_input(key="lockout_ticker").value == app.text_input(key="lockout_reason").value == ""
        assert app.number_input(key="lockout_minutes").value == 60
        assert story.ask("Alice trend daily", "IBM").code == "SYMBOL_LOCKED"

    def test_what_was_typed_stays_when_it_is_refused(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", LOCKOUTS)
        app.text_input(key="lockout_ticker").set_value("not one")
        app.text_input(key="lockout_reason").set_value("Rumour")

        app.button(key="lockout_send").click().run()

        assert "is no ticker" in told(app)
        assert app.text_input(key="lockout_reason").value == "Rumour"
        assert db.execute("select count(*) from symbol_lockouts").fetchone() == (0,)

    def test_lockout_is_removed_with_a_reason_and_moves_to_the_history(
        self, story: Story, open_page: OpenPage, sign_in: SignIn, db: psycopg.Connection
    ) -> None:
        held = commands.create_lockout(sign_in("admin"), ticker="IBM", reason="Rumour")
        app = open_page("operator", LOCKOUTS)
        assert "No past lockout matches." in told(app)

        app.button(key=f"remove_{held.id}").click().run()
        assert "Say why the lockout is removed" in told(app)
        app.text_input(key=f"remove_why_{held.id}").set_value("Denied by IBM")
        app.button(key=f"remove_{held.id}").click().run()

        assert "No symbol is locked out." in told(app)
        history = app.dataframe[0].value
        assert history[["ticker", "removed_by_email", "removed_reason", "ended"]].values.tolist() == [
            ["IBM", "operator@interlock.local", "Denied by IBM", "Removed"]
        ]

    def test_lockout_of_the_system_is_marked(self, story: Story, open_page: OpenPage) -> None:
        story.lock_out("IBM", "Headline")

        assert "violet-badge[System: news shock]" in shown(open_page("alice", LOCKOUTS))

    def test_lockout_that_a_person_set_is_not_the_systems(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Headline", lockout_type="news_shock")

        page = shown(open_page("alice", LOCKOUTS))

        assert "gray-badge[News shock]" in page
        assert "System" not in page
