"""The header on every page: what it says, that it disturbs nobody, and that PAUSE waits for nothing."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import expect
from supabase import Client

from db.commands import pause_trading, schedule_trading_mode, trading_status, update_approval_config
from pages.components.shortcuts import PAGE_KEYS, PAUSE_KEYS
from tests.browser.conftest import Visit
from tests.browser.visitor import PATIENCE_MS, Visitor
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = pytest.mark.browser

KEY_TRIES, KEY_HEARD_MS = 10, 3_000
BUSY = "equity_daily_totals"  # the overview reads it, a pause does not


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


@pytest.fixture
def busy(db: psycopg.Connection, env: dict[str, str]) -> Iterator[None]:
    """A table that nobody can read, so that a page's run does not come to its end."""
    with psycopg.connect(env["DATABASE_URL"]) as holder:
        holder.execute(f"lock table {BUSY} in access exclusive mode")
        yield
        holder.rollback()


def is_waited_for(db: psycopg.Connection) -> bool:
    waiting = db.execute("select count(*) from pg_locks where relation = %s::regclass and not granted", (BUSY,))
    return waiting.fetchone() != (0,)


def until(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_pause_acts_while_the_page_is_still_busy(
    story: Story, visit: Visit, admin: Client, db: psycopg.Connection, request: pytest.FixtureRequest
) -> None:
    visitor = visit().signed_in("admin", "/members", title="Members")
    request.getfixturevalue("busy")
    visitor.tab.get_by_test_id("stSidebarNav").get_by_role("link", name="Overview").click()
    until(lambda: is_waited_for(db))

    visitor.button("PAUSE").click()

    until(lambda: trading_status(admin).mode == "PAUSED")
    assert is_waited_for(db)


def test_header_tells_of_changes_and_leaves_what_is_being_typed_alone(
    story: Story, visit: Visit, admin: Client
) -> None:
    visitor = visit().signed_in("admin", "/control?tz=UTC", title="Control")
    reason = visitor.tab.get_by_label("Reason (required)").first
    reason.click()
    visitor.tab.keyboard.type("News about ")

    pause_trading(admin, scope="symbol", scope_key="GOOG", reason="Split")
    at = (datetime.now(UTC) + timedelta(days=1)).replace(hour=14, minute=30, second=0, microsecond=0)
    window = {"starts_at": at.isoformat(), "ends_at": (at + timedelta(hours=1)).isoformat()}
    schedule_trading_mode(admin, mode="PAUSED", kind="once", reason="Earnings", **window)
    update_approval_config(admin, patch={"auto_approve_paper": False})
    assert story.ask("Alice trend daily", "AAPL").state == "awaiting_approval"

    expect(visitor.badge).to_contain_text("1 scope stopped", timeout=PATIENCE_MS)
    expect(visitor.tab.get_by_test_id("badge-approvals").filter(visible=True)).to_have_text("1 approval waiting")
    visitor.sees(f"next: all trading PAUSED at {at:%d %b} 14:30 UTC")
    expect(reason).to_be_focused()
    visitor.tab.keyboard.type("GOOG")
    expect(reason).to_have_value("News about GOOG")


def test_keys_lead_to_pages_and_stop_trading_and_nothing_else(story: Story, visit: Visit, admin: Client) -> None:
    visitor = visit().signed_in("admin", "/members", title="Members")

    for page in ("Positions", "Control"):
        goes_by_key(visitor, page)
    visitor.tab.keyboard.press(pressed(PAUSE_KEYS))

    expect(visitor.badge).to_contain_text("PAUSED", timeout=PATIENCE_MS)
    visitor.sees_page("Control")
    visitor.tab.keyboard.press(pressed(PAUSE_KEYS))
    goes_by_key(visitor, "Overview")
    assert trading_status(admin).mode == "PAUSED"


def test_operator_cannot_pause_by_key(story: Story, visit: Visit, admin: Client) -> None:
    visitor = visit().signed_in("operator", "/approvals", title="Approvals")
    goes_by_key(visitor, "Lockouts")

    visitor.tab.keyboard.press(pressed(PAUSE_KEYS))

    goes_by_key(visitor, "Positions")
    assert trading_status(admin).mode == "RUNNING"


def goes_by_key(visitor: Visitor, page: str) -> None:
    """Press a page's keys until it comes: what is pressed while a page is still being built is lost."""
    heading = visitor.tab.get_by_role("heading", name=page, exact=True)
    for _ in range(KEY_TRIES):
        visitor.tab.keyboard.press(pressed(PAGE_KEYS[page]))
        with contextlib.suppress(AssertionError):
            expect(heading).to_be_visible(timeout=KEY_HEARD_MS)
            break
    visitor.sees_page(page)


def pressed(keys: str) -> str:
    """Return a shortcut as the keys of a keyboard."""
    *modifiers, letter = keys.split("+")
    return "+".join([*modifiers, f"Key{letter}"])
