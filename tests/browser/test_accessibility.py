"""axe-core looks at every page that an admin can open, in both themes, full of what people act on."""

import re
from collections.abc import Iterable
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect
from supabase import Client

from db.commands import create_lockout, pause_trading, update_approval_config
from tests.browser.conftest import PATIENCE_MS, Visit
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

GRAVE = {"serious", "critical"}
PALE = "[data-stale=true]"
LOOKS_AGAIN = 3
CONTRAST_ALONE = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}

# Streamlit 1.67 puts the sections of its menu as <div> between <ul> and <li>. Nothing that an app can set changes
# it; screen readers still read each section's heading and its links in order.
MENU = "stSidebarNav"
OF_THE_MENU = {"list", "listitem"}


@pytest.fixture
def full(story: Story, sign_in: SignIn) -> Story:
    """A story in which something waits, something is locked out, and a symbol is paused."""
    admin: Client = sign_in("admin")
    update_approval_config(admin, patch={"auto_approve_paper": False})
    assert story.ask("Alice trend daily", "AAPL").state == "awaiting_approval"
    create_lockout(admin, ticker="IBM", reason="Rumour")
    pause_trading(admin, scope="symbol", scope_key="GOOG", reason="Split")
    return story


def test_no_page_has_a_grave_fault_in_either_theme(full: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin")
    links = visitor.tab.get_by_test_id("stSidebarNavLink").all()
    titles = [link.inner_text().splitlines()[-1] for link in links]
    found: set[tuple[str, ...]] = set()

    for title in titles:
        visitor.goes_to(title)
        found |= {(title, "light", *fault) for fault in grave_faults(visitor.tab)}
        visitor.tab.emulate_media(color_scheme="dark")
        found |= {(title, "dark", *fault) for fault in grave_faults(visitor.tab, CONTRAST_ALONE)}
        visitor.tab.emulate_media(color_scheme="light")

    assert len(titles) >= 17
    assert found == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sign_in_page_has_no_grave_fault(scheme: Any, visit: Visit) -> None:
    visitor = visit()
    visitor.tab.emulate_media(color_scheme=scheme)
    visitor.open("/")

    assert grave_faults(visitor.tab) == set()


def test_the_check_sees_a_fault_that_is_put_there(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/")

    visitor.tab.evaluate("document.querySelector('label').remove()")

    assert "label" in {rule for rule, _, _ in grave_faults(visitor.tab)}


def grave_faults(tab: Page, options: dict[str, Any] | None = None) -> set[tuple[str, str, str]]:
    """Return rule, place and explanation of each serious or critical fault that lasts.

    What is drawn again is pale for a moment: a look that finds something is repeated once nothing is.
    """
    found = set(_faults(tab, options))
    for _ in range(LOOKS_AGAIN):
        if found:
            expect(tab.locator(PALE)).to_have_count(0, timeout=PATIENCE_MS)
            found &= set(_faults(tab, options))
    return found


def _faults(tab: Page, options: dict[str, Any] | None) -> Iterable[tuple[str, str, str]]:
    if not tab.evaluate("!!window.axe"):
        tab.evaluate(AXE_SCRIPT)
    answer = tab.evaluate("options => axe.run(options)", options or {"resultTypes": ["violations"]})
    for fault in answer["violations"]:
        for node in fault["nodes"] if fault["impact"] in GRAVE else ():
            if fault["id"] in OF_THE_MENU and is_in_the_menu(tab, node["target"][0]):
                continue
            yield fault["id"], re.sub(r"\s+", " ", node["html"])[:160], node["failureSummary"][:200]


def is_in_the_menu(tab: Page, selector: str) -> bool:
    return bool(tab.locator(selector).first.evaluate(f"node => !!node.closest('[data-testid={MENU}]')"))
