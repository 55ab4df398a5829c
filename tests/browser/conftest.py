"""Chromium, the pages as a process, and people who look at them. The database and the auth are the real ones."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from supabase import Client

from local.ports import LOOPBACK
from tests.browser.pages_process import PagesProcess
from tests.browser.visitor import PATIENCE_MS, Visitor
from tests.support.clients import SignIn
from tests.support.exchange import free_port
from tests.support.story import Story

CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
OURS = {""}  # data: and blob: have no host
Visit = Callable[[], Visitor]
StartPages = Callable[[], PagesProcess]


@pytest.fixture(scope="session")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """One Chromium for all tests; every visitor gets a context of its own."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(chromium_path), args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def pages(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesProcess]:
    """The pages, shared by all tests that do not restart them."""
    running = PagesProcess(env, tmp_path_factory.mktemp("pages"), free_port())
    yield running
    running.stop()


@pytest.fixture
def start_pages(env: dict[str, str], tmp_path: Path) -> Iterator[StartPages]:
    """Call for pages in a process that has served nobody yet."""
    started: list[PagesProcess] = []

    def start() -> PagesProcess:
        home = tmp_path / f"home-{len(started)}"
        started.append(PagesProcess(env, home, free_port()))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def visit(browser: Browser, pages: PagesProcess, sign_in: SignIn) -> Iterator[Visit]:
    """Call for a person at a browser of their own. None of their requests may leave the machine."""
    visitors: list[Visitor] = []

    def arrive() -> Visitor:
        visitors.append(Visitor(browser.new_context(viewport={"width": 1400, "height": 900}), pages.url, sign_in))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.context.close()
    assert all(host in OURS or host.startswith(f"{LOOPBACK}:") for visitor in visitors for host in visitor.hosts), [
        visitor.hosts for visitor in visitors
    ]


@pytest.fixture
def story(clean_db: psycopg.Connection, service_client: Client) -> Story:
    """A database in which thirty sessions have been traded, and an engine that is alive."""
    told = Story(service_client, profile_ids(clean_db))
    told.tell(sessions=30)
    return told


def profile_ids(db: psycopg.Connection) -> dict[str, UUID]:
    """Return the demo profiles' ids by name."""
    return dict(db.execute("select name, id from profiles").fetchall())
