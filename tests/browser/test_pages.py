"""The pages as a person finds them: full, empty, filtered, exported."""

import csv
import re

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.test_control import select_first_row
from tests.browser.visitor import PATIENCE_MS
from tests.support.story import Story

pytestmark = pytest.mark.browser

EMPTY = {
    "/": ("Overview", "No session has been recorded yet."),
    "/positions": ("Positions", "No open position matches."),
    "/orders": ("Orders", "No order matches."),
    "/trades": ("Trades", "No closed trade matches."),
    "/performance": ("Performance", "Fewer than two sessions are recorded"),
    "/control": ("Control", "Trading has never been paused or resumed here."),
    "/approvals": ("Approvals", "Nothing waits for a decision."),
    "/lockouts": ("Lockouts", "No symbol is locked out."),
}


def test_every_page_says_so_when_there_is_nothing_yet(clean_db: psycopg.Connection, visit: Visit) -> None:
    visitor = visit().signed_in("admin")

    for path, (title, text) in EMPTY.items():
        visitor.open(path)
        visitor.sees_page(title)
        visitor.sees(text)


def test_every_page_shows_what_was_traded(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin")

    for figure in ("Equity", "Today's result", "Open positions", "Open risk", "Engine"):
        expect(visitor.tab.get_by_test_id("stMetric").filter(has_text=figure)).to_be_visible(timeout=PATIENCE_MS)
    expect(visitor.tab.locator(".js-plotly-plot")).to_have_count(2, timeout=PATIENCE_MS)
    visitor.goes_to("Positions")
    visitor.sees("all protected")
    visitor.goes_to("Trades")
    expect(visitor.tab.locator(".js-plotly-plot")).to_have_count(1, timeout=PATIENCE_MS)
    visitor.goes_to("Orders")
    expect(visitor.tab.get_by_test_id("stDataFrame")).to_be_visible()
    expect(visitor.tab.get_by_test_id("stException")).to_have_count(0)


def test_filter_goes_into_the_address_and_order_opens_its_story(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin", "/orders", title="Orders")

    visitor.tab.get_by_role("combobox", name="State").click()
    visitor.tab.get_by_role("option", name="Denied").click()

    expect(visitor.tab).to_have_url(re.compile(r"orders_state=Denied"))
    visitor.tab.keyboard.press("Escape")
    select_first_row(visitor.tab)
    visitor.sees("ORDER_QTY_MAX")
    visitor.sees("What happened")
    visitor.sees("What the gate judged")


def test_export_holds_what_is_filtered(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin", "/orders?orders_state=Denied", title="Orders")

    with visitor.tab.expect_download() as download:
        visitor.button("CSV").click()

    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert rows
    assert {row["state"] for row in rows} == {"denied"}
    assert {row["code"] for row in rows} == {"ORDER_QTY_MAX"}


def test_times_follow_the_chosen_zone(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("alice", "/?tz=UTC")

    expect(visitor.tab.get_by_text(re.compile(r"checked \d\d:\d\d:\d\d UTC")).first).to_be_visible()


def test_control_can_be_used_on_a_phone(story: Story, visit: Visit) -> None:
    visitor = visit()
    visitor.tab.set_viewport_size({"width": 390, "height": 844})

    visitor.signed_in("admin", "/control", title="Control")

    assert visitor.tab.evaluate("document.documentElement.scrollWidth") <= 390
    expect(visitor.button("PAUSE")).to_be_visible()
    visitor.button("Pause auto-trading").scroll_into_view_if_needed()
    expect(visitor.button("Pause auto-trading")).to_be_in_viewport()
