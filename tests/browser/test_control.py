"""Pause and resume as people do it, and what others see of it."""

import time

import psycopg
import pytest
from playwright.sync_api import Page, expect

from db.commands import pause_trading, trading_status
from local.stack import Stack
from tests.browser.conftest import StartPages, Visit
from tests.browser.visitor import PATIENCE_MS, Visitor
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = pytest.mark.browser


def test_badge_turns_in_a_second_browser_when_an_admin_pauses(story: Story, visit: Visit) -> None:
    admin = visit().signed_in("admin", "/control", title="Control")
    onlooker = visit().signed_in("bob", "/trades", title="Trades")
    expect(onlooker.badge).to_contain_text("RUNNING")

    admin.tab.get_by_label("Reason (required)").fill("News about IBM")
    admin.button("Pause auto-trading").click()

    expect(onlooker.badge).to_contain_text("PAUSED", timeout=PATIENCE_MS)
    onlooker.sees("News about IBM")
    admin.sees("No new positions will be opened.")
    expect(admin.button("Pause auto-trading")).to_be_disabled()
    expect(admin.button("PAUSE")).to_be_disabled()


def test_denial_is_shown_with_its_code_when_trading_is_paused(story: Story, visit: Visit, sign_in: SignIn) -> None:
    pause_trading(sign_in("admin"), reason="Lunch")
    answer = story.ask("Alice trend daily", "AAPL")

    visitor = visit().signed_in("alice", "/orders?orders_state=Denied", title="Orders")

    assert answer.code == "TRADING_PAUSED"
    select_first_row(visitor.tab)
    visitor.sees("TRADING_PAUSED")
    visitor.sees("What the gate judged")


def test_entries_flow_again_when_an_admin_resumes(story: Story, visit: Visit, sign_in: SignIn) -> None:
    pause_trading(sign_in("admin"), reason="Lunch")
    admin = visit().signed_in("admin", "/control", title="Control")

    admin.tab.get_by_label("Reason (required)").fill("Back from lunch")
    story.beat()
    admin.button("Resume auto-trading").click()

    expect(admin.badge).to_contain_text("RUNNING", timeout=PATIENCE_MS)
    expect(admin.button("Resume auto-trading")).to_be_disabled()
    assert story.ask("Alice trend daily", "AAPL").state == "ready"


def test_nothing_changes_when_the_reason_is_missing(story: Story, visit: Visit, sign_in: SignIn) -> None:
    admin = visit().signed_in("admin", "/control", title="Control")

    admin.button("Pause auto-trading").click()

    admin.sees("A reason is required")
    expect(admin.badge).to_contain_text("RUNNING")
    assert trading_status(sign_in("admin")).mode == "RUNNING"


def test_one_click_pauses_from_any_page(story: Story, visit: Visit, sign_in: SignIn) -> None:
    admin = visit().signed_in("admin", "/positions", title="Positions")

    admin.button("PAUSE").click()

    expect(admin.badge).to_contain_text("PAUSED", timeout=PATIENCE_MS)
    status = trading_status(sign_in("admin"))
    assert (status.mode, status.reason_code, status.lastChangedBy) == (
        "PAUSED", "quick_pause", "admin@interlock.local",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["operator", "alice"])
def test_control_is_not_offered_when_the_person_is_no_admin(name: str, story: Story, visit: Visit) -> None:
    visitor = visit().signed_in(name)

    visitor.open("/control")
    visitor.sees_page("Overview")

    expect(visitor.button("PAUSE")).to_have_count(0)
    expect(visitor.tab.get_by_role("link", name="Control", exact=True)).to_have_count(0)
    expect(visitor.button("Pause auto-trading")).to_have_count(0)


def test_approvals_are_not_offered_to_an_analyst(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("alice")

    visitor.open("/approvals")
    visitor.sees_page("Overview")

    expect(visitor.tab.get_by_role("link", name="Approvals")).to_have_count(0)
    expect(visitor.tab.get_by_role("link", name="Lockouts")).to_have_count(1)


def test_analyst_sees_only_own_profiles(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("alice", "/orders", title="Orders")

    visitor.tab.get_by_role("combobox", name="Profile").click()

    visitor.sees("Alice trend daily")
    expect(visitor.tab.get_by_role("option", name="Bob")).to_have_count(0)


def test_badge_is_unknown_when_the_gateway_is_away(story: Story, visit: Visit, stack: Stack) -> None:
    visitor = visit().signed_in("admin")

    stack.gateway.stop(1.0)
    try:
        expect(visitor.badge).to_contain_text("UNKNOWN", timeout=PATIENCE_MS)
        visitor.sees("cannot be reached")
    finally:
        stack.start_gateway()

    expect(visitor.badge).to_contain_text("RUNNING", timeout=PATIENCE_MS)


def test_badge_becomes_unknown_by_itself_when_the_pages_die(
    clean_db: psycopg.Connection, start_pages: StartPages, visit: Visit
) -> None:
    process = start_pages()
    visitor: Visitor = visit()
    visitor.url = process.url
    visitor.signed_in("alice")

    process.stop()

    expect(visitor.badge).to_contain_text("UNKNOWN", timeout=PATIENCE_MS)


@pytest.mark.parametrize("died_after_s", [0.0, 0.05, 0.3])
def test_a_click_that_the_pages_do_not_survive_pauses_once_or_not_at_all(
    story: Story, start_pages: StartPages, visit: Visit, db: psycopg.Connection, died_after_s: float
) -> None:
    process = start_pages()
    admin: Visitor = visit()
    admin.url = process.url
    admin.signed_in("admin", "/control", title="Control")

    admin.button("PAUSE").click()
    time.sleep(died_after_s)
    process.restart()
    admin.open("/control")
    admin.sees_page("Control")

    (mode,) = db.execute("select mode::text from trading_controls where scope = 'global'").fetchone() or ("",)
    expect(admin.badge).to_contain_text(mode, timeout=PATIENCE_MS)
    changes = db.execute("select to_mode::text from trading_control_events where scope = 'global'").fetchall()
    assert changes == ([("PAUSED",)] if mode == "PAUSED" else [])
    audited = "select count(*) from audit_log where action = 'pause_trading' and outcome = 'done'"
    assert db.execute(audited).fetchone() == (len(changes),)
    expect(admin.button("PAUSE")).to_be_enabled(enabled=mode == "RUNNING")


def test_engine_is_stale_when_its_heartbeat_is_old(story: Story, visit: Visit, db: psycopg.Connection) -> None:
    visitor = visit().signed_in("admin")

    db.execute("update engine_heartbeats set beat_at = clock_timestamp() - interval '20 seconds'")

    expect(visitor.tab.get_by_test_id("badge-engine").filter(visible=True)).to_contain_text(
        "STALE", timeout=PATIENCE_MS
    )


def select_first_row(tab: Page) -> None:
    """Tick the first row of the first table: its cells are drawn, so there is nothing else to click."""
    table = tab.locator(".stDataFrameGlideDataEditor").first
    table.click(position={"x": 16, "y": 52})
