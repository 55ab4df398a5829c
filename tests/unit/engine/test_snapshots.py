import errno
import json
import os
from pathlib import Path

import pytest

from engine.domain.broker_types import MarketTime
from engine.service import journal
from engine.service.health_tracker import HealthTracker
from engine.service.snapshots import Snapshots
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, NOON, a_profile, a_snapshot, an_order, protected_trade
from tests.unit.engine.fakes import FakeAuthority, ManualClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine" / "bot_state.json"


@pytest.fixture
def snapshots(authority: FakeAuthority, book: Book, clock: ManualClock, health: HealthTracker, path: Path) -> Snapshots:
    def report(problem: str | None) -> None:
        health.local_fault = problem

    authority.book = a_snapshot(profiles=(a_profile(),), trades=(protected_trade(),), orders=(an_order(),))
    book.read()
    return Snapshots(authority, book, clock, path, shard="main", token=lambda: 7, report=report)


def refuse_the_disk(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(journal.os, "fsync", fail)


def test_state_is_in_the_file_and_in_the_database_when_it_was_saved(
    snapshots: Snapshots, authority: FakeAuthority
) -> None:
    snapshots.save_state(MARKET)

    state = snapshots.load_file()
    assert state is not None
    assert state.snapshot == authority.book
    assert state.token == 7
    assert [trade["trade_id"] for trade in authority.saved[0]["trades"]] == ["entry"]


def test_nothing_is_loaded_and_nothing_is_complained_about_when_there_is_no_file(snapshots: Snapshots) -> None:
    assert snapshots.load_file() is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[:100], "damaged"),
        (lambda text: text.replace('"main"', '"west"'), "checksum"),
        (lambda text: text.replace('"format":2', '"format":99'), "a newer engine"),
        (lambda text: text.replace('"format":2', '"format":1'), "an older engine"),
    ],
)
def test_a_file_that_is_not_used_is_kept_aside_with_the_reason(
    snapshots: Snapshots, path: Path, damage, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots.save_state(MARKET)
    path.write_text(damage(path.read_text()))
    damaged = path.read_text()

    assert snapshots.load_file() is None

    (kept,) = path.parent.glob("bot_state-refused-*.json")
    assert kept.read_text() == damaged
    assert not path.exists()
    assert reason in capsys.readouterr().out


def test_another_shards_file_is_not_used(
    snapshots: Snapshots, authority: FakeAuthority, book: Book, clock: ManualClock, path: Path
) -> None:
    snapshots.save_state(MARKET)

    assert Snapshots(authority, book, clock, path, shard="west").load_file() is None


def test_the_old_file_stays_whole_when_a_draft_was_left_behind(snapshots: Snapshots, path: Path) -> None:
    snapshots.save_state(MARKET)

    path.with_suffix(".tmp").write_text("half")

    state = snapshots.load_file()
    assert state is not None and state.market_at == NOON


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "Make the folder")])
def test_entries_are_closed_with_a_message_until_the_disk_can_be_written_again(
    snapshots: Snapshots, health: HealthTracker, monkeypatch: pytest.MonkeyPatch, path: Path, number: int, words: str
) -> None:
    with monkeypatch.context() as broken:
        refuse_the_disk(broken, number)
        snapshots.save_state(MARKET)

    assert health.is_paused()
    assert words in str(health.local_fault) and str(path) in str(health.local_fault)
    assert health.local_fault in health.not_ready_because()

    snapshots.save_state(MARKET)

    assert not health.is_paused()


def test_equity_is_noted_once_when_the_market_closes(snapshots: Snapshots, authority: FakeAuthority) -> None:
    for is_open in (False, True, True, False, False):
        snapshots.watch_close(MarketTime(NOON, is_open))

    assert authority.equity == [NOON]


def test_the_file_is_one_json_object(snapshots: Snapshots, path: Path) -> None:
    snapshots.save_state(MARKET)

    assert json.loads(path.read_text())["state"]["shard"] == "main"
