"""Somebody asks why nothing happened, and what would have happened otherwise, in a browser."""

import re

import pytest
from playwright.sync_api import expect

from db import commands
from tests.browser.conftest import Visit
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = pytest.mark.browser


def test_from_a_refusal_to_its_checks_and_to_what_it_cost(story: Story, visit: Visit, sign_in: SignIn) -> None:
    commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Rumour")
    story.ask("Alice trend daily", "IBM")
    visitor = visit().signed_in("alice", "/decisions?decisions_code=SYMBOL_LOCKED&why_symbol=IBM", title="Decisions")

    rows = visitor.tab.locator(".stDataFrameGlideDataEditor").last  # its cells are drawn
    rows.scroll_into_view_if_needed()
    rows.click(position={"x": 16, "y": 52})

    drawer = visitor.tab.get_by_role("dialog")
    expect(drawer.get_by_text("The symbol is locked out until")).to_be_visible()
    expect(visitor.tab).to_have_url(re.compile(r"order=[0-9a-f-]{36}"))
    visitor.tab.keyboard.press("Escape")
    expect(drawer).to_have_count(0)

    visitor.goes_to("Cost of control")
    visitor.sees("Lockouts (counterfactual)")

    visitor.goes_to("What if")
    visitor.sees("The gate would have given every entry of the period the same answer.")
    visitor.open("/what_if?what_pauses=Paused+throughout")
    visitor.sees_page("What if")
    visitor.sees("Would have been kept back")
    expect(visitor.tab.get_by_text("The gate would have given")).to_have_count(0)
