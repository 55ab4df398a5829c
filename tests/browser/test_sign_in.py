"""Signing in: no page without it, it lasts, and it ends when it should."""

import re

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import StartPages, Visit
from tests.browser.pages_process import PagesProcess
from tests.browser.visitor import Visitor
from tests.support.clients import SignIn

pytestmark = pytest.mark.browser

PAGES = ["/", "/positions", "/orders", "/trades", "/control"]
SIGN_IN = re.compile(r"/auth/login")


@pytest.mark.parametrize("path", PAGES)
def test_deep_link_ends_at_sign_in_when_the_server_is_fresh(
    path: str, start_pages: StartPages, browser: Browser, sign_in: SignIn
) -> None:
    visitor = Visitor(browser.new_context(), start_pages().url, sign_in)

    visitor.open(path)

    expect(visitor.tab).to_have_url(SIGN_IN)
    expect(visitor.button("Sign in")).to_be_visible()
    visitor.context.close()


def test_sign_in_leads_back_to_the_deep_link_with_its_filters(clean_db: psycopg.Connection, visit: Visit) -> None:
    visitor = visit()

    visitor.signed_in("admin", "/orders?orders_symbol=IBM", title="Orders")

    expect(visitor.tab).to_have_url(re.compile(r"/orders\?orders_symbol=IBM"))


def test_wrong_password_is_told_and_the_address_is_kept(visit: Visit) -> None:
    visitor = visit()
    visitor.open("/trades")

    visitor.fill_in("bob", password="not the password")

    visitor.sees("The e-mail address or the password is not right.")
    expect(visitor.tab.get_by_label("E-mail")).to_have_value("bob@interlock.local")
    expect(visitor.tab.get_by_label("Password")).to_have_value("")


def test_sign_in_survives_a_reload_and_a_restart_of_the_pages(
    clean_db: psycopg.Connection, start_pages: StartPages, browser: Browser, sign_in: SignIn
) -> None:
    process = start_pages()
    visitor = Visitor(browser.new_context(), process.url, sign_in).signed_in("alice", "/trades", title="Trades")

    visitor.tab.reload()
    visitor.sees_page("Trades")
    process.stop()
    process.start()
    visitor.open("/positions")

    visitor.sees_page("Positions")
    visitor.context.close()


def test_cookie_cannot_be_read_by_scripts_and_carries_no_token(clean_db: psycopg.Connection, visit: Visit) -> None:
    visitor = visit().signed_in("alice")

    (cookie,) = [cookie for cookie in visitor.context.cookies() if cookie["name"] == "interlock_session"]

    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert len(cookie["value"]) < 60


def test_sign_out_ends_every_tab(clean_db: psycopg.Connection, visit: Visit) -> None:
    visitor = visit().signed_in("alice")
    other_tab = visitor.context.new_page()
    other_tab.goto(visitor.url + "/orders")
    expect(other_tab.get_by_role("heading", name="Orders", exact=True)).to_be_visible(timeout=15_000)

    visitor.button("alice@interlock.local").click()
    visitor.button("Sign out").click()

    expect(visitor.tab).to_have_url(SIGN_IN, timeout=15_000)
    expect(other_tab).to_have_url(SIGN_IN, timeout=15_000)


def test_sign_in_is_refused_when_the_form_comes_from_another_site(pages: PagesProcess, sign_in: SignIn) -> None:
    form = {"email": sign_in.email("admin"), "password": sign_in.password("admin")}

    response = httpx.post(
        f"{pages.url}/auth/login", data=form, headers={"origin": "https://elsewhere.example"}, trust_env=False
    )

    assert response.status_code == 403
    assert "set-cookie" not in response.headers
