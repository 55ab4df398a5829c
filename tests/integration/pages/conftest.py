"""Thirty traded sessions in the real database, and the pages as a member sees them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest
from supabase import Client

from local.migrations import ROOT
from pages.session.clock import now
from pages.session.logins import COOKIE, open_session, sessions
from pages.session.settings import settings
from tests.support.clients import SignIn
from tests.support.story import Story

OpenPage = Callable[[str, str], AppTest]


@pytest.fixture
def story(clean_db: psycopg.Connection, service_client: Client) -> Story:
    told = Story(service_client, dict(clean_db.execute("select name, id from profiles").fetchall()))
    told.tell(sessions=30)
    return told


@pytest.fixture
def installation(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The pages' settings, and a session store of their own."""
    monkeypatch.setenv("SUPABASE_URL", env["SUPABASE_URL"])
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", env["SUPABASE_PUBLISHABLE_KEY"])
    monkeypatch.setenv("PAGES_HOME", str(tmp_path))
    settings.cache_clear()
    sessions.cache_clear()
    yield
    settings.cache_clear()
    sessions.cache_clear()


@pytest.fixture
def open_page(installation: None, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """Call with a member's name and a page's path; the frame runs around it, as in the browser.

    The login is a real one. Only the cookie is put into its place: AppTest has no browser to keep it.
    """

    def open_as(name: str, page: str) -> AppTest:
        cookie = open_session(sign_in.email(name), sign_in.password(name), now())
        monkeypatch.setattr(ContextProxy, "cookies", property(lambda _: {COOKIE: cookie}))
        app = AppTest.from_file(str(ROOT / "pages" / "frame.py"), default_timeout=30).run()
        assert not app.exception
        return app.switch_page(page).run()

    return open_as
