"""`make reset` wipes a home that is one, and nothing else."""

import io
from pathlib import Path

import pytest

from local import reset
from local.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that was used, and is at rest."""
    used = Home(tmp_path / "home")
    used.acquire()
    used.keys()
    (used.tools / "postgrest").mkdir(parents=True)
    used.release()
    monkeypatch.setenv("LOCAL_HOME", str(used.path))
    monkeypatch.delenv("LOCAL_TOOLS", raising=False)
    monkeypatch.delenv("FORCE", raising=False)
    return used


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_everything_but_the_tools_is_gone_when_agreed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "y\n")

    assert reset.main() == 0

    assert not (home.path / "keys.json").exists()
    assert (home.tools / "postgrest").exists()


@pytest.mark.parametrize("text", ["n\n", "\n", ""])
def test_nothing_is_deleted_when_not_agreed(home: Home, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    answer(monkeypatch, text)

    assert reset.main() == 1

    assert (home.path / "keys.json").exists()


def test_no_question_is_asked_when_forced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE", "1")

    assert reset.main() == 0

    assert not (home.path / "keys.json").exists()


def test_nothing_is_deleted_while_interlock_runs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE", "1")
    home.acquire()

    assert reset.main() == 1

    assert (home.path / "keys.json").exists()
    home.release()


def test_a_folder_that_is_no_home_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").touch()
    monkeypatch.setenv("LOCAL_HOME", str(tmp_path))
    monkeypatch.setenv("FORCE", "1")

    assert reset.main() == 0

    assert (tmp_path / "precious").exists()
