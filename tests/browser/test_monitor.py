"""What people do on the monitor pages, in a browser: look into an order, a day, a position, and close one."""

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


def test_an_order_opens_in_a_drawer_that_the_address_keeps(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin", "/orders?orders_state=Filled", title="Orders")

    select_first_row(visitor.tab)

    drawer = visitor.tab.get_by_role("dialog")
    expect(drawer.get_by_text("In all")).to_be_visible()
    expect(drawer.get_by_role("cell", name="Accepted")).to_be_visible()
    expect(visitor.tab).to_have_url(re.compile(r"order=[0-9a-f-]{36}"))
    visitor.tab.reload()
    expect(drawer.get_by_text("In all")).to_be_visible()
    visitor.tab.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(visitor.tab).not_to_have_url(re.compile(r"[?&]order="))


def test_a_day_of_the_calendar_opens_its_trades_and_a_trade_its_orders(
    story: Story, visit: Visit, db: psycopg.Connection
) -> None:
    day = db.execute(
        "select max((closed_at at time zone 'America/New_York')::date)::text from trades where closed_at is not null"
    ).fetchone()
    assert day is not None
    visitor = visit().signed_in("admin", f"/performance?performance_month={day[0][:7]}", title="Performance")

    visitor.tab.locator(f'a[href="/trades?trades_day={day[0]}"]').click()

    visitor.sees_page("Trades")
    expect(visitor.tab.get_by_test_id("stMetric").filter(has_text="Result")).to_be_visible(timeout=PATIENCE_MS)
    expect(visitor.tab.locator(".js-plotly-plot")).to_have_count(1, timeout=PATIENCE_MS)
    visitor.sees("Its orders")


def test_an_operator_closes_a_position_with_a_reason(story: Story, visit: Visit, db: psycopg.Connection) -> None:
    visitor = visit().signed_in("operator", "/positions", title="Positions")

    visitor.button("Close it").click()
    visitor.tab.get_by_label("Why it is closed").fill("Earnings tonight")
    visitor.tab.get_by_role("button", name=re.compile(r"^Sell .* now$")).click()

    visitor.sees("Asked for: the engine closes")
    assert db.execute("select state::text, exit_reason from orders where purpose = 'exit'").fetchall() == [
        ("ready", "manual")
    ]


def test_an_analyst_sees_positions_and_is_not_offered_to_close_one(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("alice", "/positions", title="Positions")

    expect(visitor.tab.get_by_test_id("stDataFrame")).to_be_visible()
    expect(visitor.button("Close it")).to_have_count(0)


def test_trades_of_a_filter_can_be_taken_away(story: Story, visit: Visit) -> None:
    visitor = visit().signed_in("admin", "/trades?trades_symbol=IBM", title="Trades")

    with visitor.tab.expect_download() as download:
        visitor.button("CSV").click()

    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert rows
    assert {row["symbol"] for row in rows} == {"IBM"}


def test_performance_says_each_figure_in_text_and_fits_on_a_phone(story: Story, visit: Visit) -> None:
    visitor = visit()
    visitor.tab.set_viewport_size({"width": 390, "height": 844})

    visitor.signed_in("admin", "/performance", title="Performance")

    visitor.tab.get_by_role("heading", name="Risk and return").scroll_into_view_if_needed()
    for figure in ("Sharpe", "Deepest drawdown"):
        expect(visitor.tab.get_by_test_id("stMetric").filter(has_text=figure)).to_be_visible(timeout=PATIENCE_MS)
    expect(visitor.tab.get_by_role("table", name="Return of each month")).to_be_visible()
    assert visitor.tab.evaluate("document.documentElement.scrollWidth") <= 390
