"""Every page ends at sign-in when it is run alone and nobody is signed in, as a deep link would run it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.session.logins import sessions
from pages.session.settings import settings
from tests.unit.pages.test_page_rules import PAGES, ROOT, name_of


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings of an installation in which nobody is signed in, and whose database nobody may ask."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_test")
    monkeypatch.setenv("PAGES_HOME", str(tmp_path))
    settings.cache_clear()
    sessions.cache_clear()
    yield
    settings.cache_clear()
    sessions.cache_clear()


@pytest.mark.parametrize("path", [*PAGES, ROOT / "pages" / "frame.py"], ids=name_of)
def test_page_shows_nothing_but_the_way_to_sign_in(path: Path) -> None:
    app = AppTest.from_file(str(path), default_timeout=20).run()

    assert not app.exception
    assert not app.title
    assert not app.button
    assert "/auth/login" in app.get("html")[0].proto.body
