"""What each person's browser and the page server get to know, and what they do not."""

import psycopg
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import StartPages, Visit
from tests.browser.pages_process import PagesProcess
from tests.browser.visitor import Visitor
from tests.support.clients import SignIn
from tests.support.story import Story

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]  # two people, and a server that starts five times

OFFERED = {"admin": ("/control", "Control"), "operator": ("/approvals", "Approvals"), "alice": ("/orders", "Orders")}


def frames_of(tab: Page) -> list[bytes]:
    """Return a list that fills with whatever the server sends to a tab."""
    frames: list[bytes] = []

    def keep(frame: str | bytes) -> None:
        frames.append(frame if isinstance(frame, bytes) else frame.encode())

    tab.on("websocket", lambda socket: socket.on("framereceived", keep))
    return frames


def test_nothing_of_one_person_reaches_another_on_the_same_server(story: Story, visit: Visit) -> None:
    alice, bob = visit(), visit()
    sent_to_alice, sent_to_bob = frames_of(alice.tab), frames_of(bob.tab)
    alice.signed_in("alice")
    bob.signed_in("bob")

    for title in ("Positions", "Orders", "Trades", "Decisions"):
        alice.goes_to(title)
        bob.goes_to(title)

    assert told(sent_to_alice, b"Alice trend daily")
    assert told(sent_to_bob, b"bob@interlock.local")
    assert not told(sent_to_alice, b"Bob")
    assert not told(sent_to_alice, b"bob@interlock.local")
    assert not told(sent_to_bob, b"Alice")
    assert not told(sent_to_bob, b"alice@interlock.local")


def told(frames: list[bytes], text: bytes) -> bool:
    return any(text in frame for frame in frames)


def test_page_server_holds_no_secret(pages: PagesProcess, env: dict[str, str]) -> None:
    held = pages.environment()
    secrets = {name for name in env if "SECRET" in name or "TOKEN" in name or name == "DATABASE_URL"}

    assert {"SUPABASE_SECRET_KEY", "ALPACA_SECRET_KEY"} <= secrets
    assert held["SUPABASE_PUBLISHABLE_KEY"] == env["SUPABASE_PUBLISHABLE_KEY"]
    assert not {env[name] for name in secrets} & set(held.values())
    assert not secrets & set(held)


def test_first_deep_link_after_a_restart_gives_each_role_its_own(
    clean_db: psycopg.Connection, start_pages: StartPages, visit: Visit, sign_in: SignIn
) -> None:
    process = start_pages()
    people: dict[str, Visitor] = {}
    for name in OFFERED:
        people[name] = visit()
        people[name].url = process.url
        people[name].signed_in(name)
        people[name].tab.goto("about:blank")  # asks for nothing while the server is away

    for name, (path, title) in OFFERED.items():
        process.restart()
        people[name].open(path)
        people[name].sees_page(title)
        people[name].tab.goto("about:blank")
    process.restart()
    people["alice"].open("/control")

    people["alice"].sees_page("Overview")
    assert people["alice"].button("PAUSE").count() == 0
