"""Sessions on the server's side."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from db.auth import Login
from pages.session.store import LIFETIME, SessionStore

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
LOGIN = Login(UUID(int=7), "alice@interlock.local", "access-secret", "refresh-secret", 1_800_000_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pages" / "sessions.sqlite"


def test_session_is_found_again_when_the_process_was_restarted(file: Path) -> None:
    session_id = SessionStore(file).create(LOGIN, NOW)

    assert SessionStore(file).get(session_id, NOW) == LOGIN


def test_session_is_gone_when_its_time_is_over(file: Path) -> None:
    store = SessionStore(file)
    session_id = store.create(LOGIN, NOW)

    assert store.get(session_id, NOW + LIFETIME - timedelta(seconds=1)) == LOGIN
    assert store.get(session_id, NOW + LIFETIME) is None


def test_unknown_id_opens_nothing(file: Path) -> None:
    store = SessionStore(file)
    store.create(LOGIN, NOW)

    assert store.get("a" * 43, NOW) is None
    assert store.get("", NOW) is None


def test_file_alone_holds_neither_ids_nor_tokens(file: Path) -> None:
    session_id = SessionStore(file).create(LOGIN, NOW)

    kept = b"".join(path.read_bytes() for path in file.parent.iterdir())
    for secret in (session_id, "access-secret", "refresh-secret", "alice@interlock.local"):
        assert secret.encode() not in kept


def test_file_is_readable_by_its_owner_only(file: Path) -> None:
    SessionStore(file).create(LOGIN, NOW)

    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


def test_ended_session_stays_ended_when_a_refresh_comes_late(file: Path) -> None:
    store = SessionStore(file)
    session_id = store.create(LOGIN, NOW)

    store.delete(session_id)
    store.replace(session_id, LOGIN)

    assert store.get(session_id, NOW) is None
