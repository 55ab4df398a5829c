"""Where the pages find their settings, and what they refuse to know."""

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from pages.session import settings as module
from pages.session.settings import SettingsMissing, settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty home and environment."""
    for key in module.READ_KEYS:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("LOCAL_HOME", str(tmp_path))
    monkeypatch.setattr(module, "ROOT", tmp_path / "checkout")
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_message_names_what_is_missing_and_what_to_do() -> None:
    with pytest.raises(SettingsMissing, match=r"SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY not set.*make run"):
        settings()


def test_settings_come_from_the_local_home_when_the_environment_is_silent(home: Path) -> None:
    (home / "env").write_text("SUPABASE_URL=http://127.0.0.1:1/\nSUPABASE_PUBLISHABLE_KEY=sb_publishable_x\n")

    assert settings().supabase_url == "http://127.0.0.1:1"
    assert settings().home == home / "pages"


def test_environment_wins_over_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "env").write_text("SUPABASE_URL=http://127.0.0.1:1\nSUPABASE_PUBLISHABLE_KEY=sb_publishable_x\n")

    monkeypatch.setenv("SUPABASE_URL", "https://project.example")

    assert settings().supabase_url == "https://project.example"


def test_secrets_are_never_read(home: Path) -> None:
    (home / "env").write_text(
        "SUPABASE_URL=http://127.0.0.1:1\nSUPABASE_PUBLISHABLE_KEY=p\nSUPABASE_SECRET_KEY=sb_secret_x\n"
        "ALPACA_SECRET_KEY=sb_secret_x\nDATABASE_URL=sb_secret_x\n"
    )

    assert "sb_secret_x" not in [str(value) for value in astuple(settings())]
