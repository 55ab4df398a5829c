"""Approvals, lockouts and a refused resume as people do them, in a browser."""

import re

import psycopg
import pytest
from playwright.sync_api import expect
from supabase import Client

from db.commands import approval_config, pause_trading, trading_status, update_approval_config
from tests.browser.conftest import Visit
from tests.browser.visitor import PATIENCE_MS
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = pytest.mark.browser


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


@pytest.fixture
def waiting(story: Story, admin: Client) -> Story:
    """A story in which one entry waits for a person."""
    update_approval_config(admin, patch={"auto_approve_paper": False})
    assert story.ask("Alice trend daily", "AAPL").state == "awaiting_approval"
    return story


def order_states(db: psycopg.Connection) -> list[tuple[str, str | None]]:
    return db.execute(
        "select o.state::text, a.decision_reason from operator_approvals a join orders o on o.id = a.order_id"
        " order by a.requested_at"
    ).fetchall()


def test_operator_approves_an_entry(waiting: Story, visit: Visit, db: psycopg.Connection) -> None:
    operator = visit().signed_in("operator", "/approvals", title="Approvals")
    operator.sees("Buy 10 AAPL")
    operator.sees("orders of this kind need approval")

    operator.button("Approve").click()

    operator.sees("Approved: Buy 10 AAPL.")
    operator.sees("Nothing waits for a decision.")
    assert order_states(db) == [("ready", None)]


def test_operator_rejects_an_entry_with_a_reason(waiting: Story, visit: Visit, db: psycopg.Connection) -> None:
    operator = visit().signed_in("operator", "/approvals", title="Approvals")

    operator.button("Reject").click()
    operator.tab.get_by_label("Why it is rejected").fill("Earnings tonight")
    operator.button("Reject this entry").click()

    operator.sees("Rejected: Buy 10 AAPL.")
    assert order_states(db) == [("approval_rejected", "Earnings tonight")]


def test_entry_that_comes_in_later_is_shown_by_itself_when_nothing_waited(
    story: Story, visit: Visit, admin: Client
) -> None:
    update_approval_config(admin, patch={"auto_approve_paper": False})
    operator = visit().signed_in("operator", "/approvals", title="Approvals")
    operator.sees("Nothing waits for a decision.")

    story.ask("Alice trend daily", "AAPL")

    operator.sees("Buy 10 AAPL", timeout_ms=25_000)


def test_lockout_is_created_and_removed(story: Story, visit: Visit, db: psycopg.Connection) -> None:
    operator = visit().signed_in("operator", "/lockouts", title="Lockouts")
    operator.tab.get_by_label("Ticker").fill("ibm")
    operator.tab.get_by_label("Reason", exact=True).fill("Rumour")
    operator.button("Lock out").click()
    operator.sees("Done: IBM locked out.")
    expect(operator.tab.get_by_label("Ticker")).to_have_value("")
    assert story.ask("Alice trend daily", "IBM").code == "SYMBOL_LOCKED"

    operator.button("Remove").click()
    operator.tab.get_by_label("Why it is removed").fill("Denied by IBM")
    operator.button("Remove this lockout").click()

    operator.sees("No symbol is locked out.")
    assert db.execute("select ticker, removed_reason from symbol_lockouts").fetchall() == [("IBM", "Denied by IBM")]
    assert story.ask("Alice trend daily", "IBM").code != "SYMBOL_LOCKED"


def test_resume_is_refused_by_the_preflight_list_and_then_overridden(story: Story, visit: Visit, admin: Client) -> None:
    pause_trading(admin, reason="Check")
    visitor = visit().signed_in("admin")
    story.report(broker_blocked=True, data_age_s=1)
    visitor.goes_to("Control")
    visitor.sees("Pre-flight: 1 thing in the way of a resume")
    visitor.tab.get_by_label("Reason (required)").fill("Checked")
    visitor.button("Resume auto-trading").click()
    visitor.sees("The broker blocks the account, or has not said")
    assert trading_status(admin).mode == "PAUSED"

    visitor.tab.get_by_label("Why it is safe all the same").fill("Phoned the broker")
    visitor.button("Resume all the same").click()

    expect(visitor.badge).to_contain_text("RUNNING", timeout=15_000)
    assert trading_status(admin).mode == "RUNNING"


def test_paper_orders_need_approval_once_an_admin_has_confirmed(story: Story, visit: Visit, admin: Client) -> None:
    visitor = visit().signed_in("admin", "/approvals", title="Approvals")
    visitor.button("Require approval instead").click()
    visitor.tab.get_by_role("dialog").get_by_label("Why").fill("A human calls the final shot")
    visitor.button("Yes, change it").click()

    visitor.sees("Done: Require approval for paper orders")
    expect(visitor.tab.get_by_role("dialog")).to_have_count(0)
    assert approval_config(admin)["auto_approve_paper"] is False
    assert story.ask("Alice trend daily", "AAPL").state == "awaiting_approval"


def test_confirmation_that_was_closed_changes_nothing_and_stays_away(story: Story, visit: Visit, admin: Client) -> None:
    visitor = visit().signed_in("admin", "/approvals", title="Approvals")
    visitor.button("Require approval instead").click()
    dialog = visitor.tab.get_by_role("dialog")
    expect(dialog).to_be_visible()

    visitor.tab.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    visitor.goes_to("Lockouts")
    visitor.goes_to("Approvals")

    expect(dialog).to_have_count(0)
    assert approval_config(admin)["auto_approve_paper"] is True


def test_approvals_can_be_decided_on_a_phone(waiting: Story, visit: Visit) -> None:
    visitor = visit()
    visitor.tab.set_viewport_size({"width": 390, "height": 844})

    visitor.signed_in("operator", "/approvals", title="Approvals")

    visitor.sees("Buy 10 AAPL")
    assert visitor.tab.evaluate("document.documentElement.scrollWidth") <= 390
    visitor.button("Approve").scroll_into_view_if_needed()
    expect(visitor.button("Approve")).to_be_in_viewport()


def test_scope_of_the_control_goes_into_the_address(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin", "/control", title="Control")

    visitor.tab.get_by_role("radio", name="Symbol").or_(visitor.button("Symbol")).first.click()

    expect(visitor.tab).to_have_url(re.compile(r"scope=Symbol"))


def test_entry_that_runs_out_under_the_eyes_cannot_be_approved(
    waiting: Story, visit: Visit, db: psycopg.Connection
) -> None:
    operator = visit().signed_in("operator", "/approvals", title="Approvals")
    operator.sees("Buy 10 AAPL")

    db.execute("update operator_approvals set expires_at = clock_timestamp()")
    operator.button("Approve").click()

    operator.sees("Nothing waits for a decision.")
    assert order_states(db) == [("approval_expired", None)]


def test_admin_halts_all_trading_by_typing_the_word(story: Story, visit: Visit, admin: Client) -> None:
    visitor, onlooker = visit().signed_in("admin", "/control", title="Control"), visit().signed_in("bob")
    visitor.tab.get_by_text("Halt all trading", exact=True).first.click()
    visitor.tab.get_by_label("Why trading is halted").fill("Runaway strategy")
    visitor.tab.get_by_label("Type HALT to confirm").fill("halt")
    visitor.button("Halt all trading").click()
    visitor.sees("in capitals to confirm the halt")
    assert trading_status(admin).mode == "RUNNING"

    visitor.tab.get_by_label("Type HALT to confirm").fill("HALT")
    visitor.button("Halt all trading").click()

    expect(visitor.badge).to_contain_text("HALTED", timeout=PATIENCE_MS)
    expect(onlooker.badge).to_contain_text("HALTED", timeout=PATIENCE_MS)
    status = trading_status(admin)
    assert (status.mode, status.reason) == ("HALTED", "Runaway strategy")
