"""The admin pages as people use them, in a browser: what AppTest cannot see."""

import re
from uuid import UUID

import psycopg
import pytest
from playwright.sync_api import expect
from supabase import Client

from db.commands import risk_config, update_risk_config
from tests.browser.conftest import Visit
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = pytest.mark.browser


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in("admin")


def test_two_admins_change_the_limits_and_neither_loses_what_was_typed(
    story: Story, visit: Visit, admin: Client
) -> None:
    visitor = visit().signed_in("admin", "/risk", title="Risk")
    visitor.tab.get_by_role("textbox", name="Quantity, at most").fill("500")
    visitor.button("Review the changes").click()
    visitor.sees("One order, quantity, at most: 10,000 shares → 500 shares")
    held = risk_config(admin)
    held.config["order_limits"]["qty_max"] = "700"
    update_risk_config(admin, config=held.config, expected_version=held.version, reason="Other desk")
    visitor.tab.get_by_label("Reason", exact=True).fill("Quieter week")

    visitor.button("Save").click()

    visitor.sees("Nothing that you typed is lost.")
    expect(visitor.tab.get_by_role("textbox", name="Quantity, at most")).to_have_value("500")
    visitor.tab.get_by_role("button", name=re.compile("with my values")).click()
    visitor.sees("One order, quantity, at most: 700 shares → 500 shares")
    visitor.is_complete()
    expect(visitor.button("Save")).to_have_count(1)  # the form of before is gone
    visitor.button("Save").click()
    visitor.sees("is active, with 1 change.")
    saved = risk_config(admin)
    assert (saved.config["order_limits"]["qty_max"], saved.reason) == ("500", "Quieter week")


def test_member_is_made_an_operator_and_the_log_tells_of_it_under_an_address_of_its_own(
    story: Story, visit: Visit, db: psycopg.Connection
) -> None:
    visitor = visit().signed_in("admin", "/members?members_search=bob", title="Members")
    visitor.sees("1 member")
    visitor.button("Change role").click()
    visitor.tab.get_by_label("Why").fill("Night desk")
    visitor.tab.get_by_role("button", name=re.compile("Yes, make bob")).click()
    visitor.sees("bob@interlock.local is an operator now.")
    row = db.execute("select id from audit_log where action = 'set_member_role'").fetchone()
    assert row is not None

    visitor.open(f"/audit?audit_action=set_member_role&entry={row[0]}")

    drawer = visitor.tab.get_by_role("dialog")
    expect(drawer).to_contain_text("Night desk", timeout=15_000)
    expect(drawer).to_contain_text("admin@interlock.local, admin")


def test_alert_is_acknowledged_by_an_operator(story: Story, visit: Visit, db: psycopg.Connection) -> None:
    db.execute("update engine_heartbeats set beat_at = now() - interval '1 hour'")
    visitor = visit().signed_in("operator", "/alerts", title="Alerts")
    visitor.sees("Engine dead")

    visitor.button("Acknowledge").first.click()
    visitor.tab.get_by_label("Note (optional)").fill("Starting it again")
    visitor.button("I look after it").click()

    visitor.sees("operator@interlock.local looks after it since")
    held = db.execute("select id, acknowledged_note from alerts where acknowledged_at is not null").fetchall()
    assert [(type(id_), note) for id_, note in held] == [(UUID, "Starting it again")]
