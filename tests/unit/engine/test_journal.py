import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.domain.journal import Cancelled, checksum, encode
from engine.service import journal
from engine.service.health_tracker import HealthTracker
from engine.service.journal import KEPT_MAX, Journal
from tests.unit.engine.builders import NOON
from tests.unit.engine.fakes import ManualClock


def act(number: int) -> Cancelled:
    return Cancelled(at=NOON, trade_id="trade", broker_order_id=f"leg-{number}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine" / "journal.log"


@pytest.fixture
def start(path: Path, clock: ManualClock, health: HealthTracker) -> Callable[[], Journal]:
    """Return a function that opens the journal as a process does at its start."""
    started: list[Journal] = []

    def open_it() -> Journal:
        for earlier in started:
            earlier._close()  # as the end of its process does
        started.append(Journal(path, clock, health.note_disk))
        return started[-1]

    return open_it


def test_acts_are_there_after_a_crash(start: Callable[[], Journal]) -> None:
    before = start()
    for number in range(3):
        before.append(act(number))

    assert start().acts() == [act(0), act(1), act(2)]


def test_an_act_is_on_the_disk_before_append_returns(
    start: Callable[[], Journal], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(journal.os, "fsync", lambda _: synced.append(path.stat().st_size))

    start().append(act(0))

    assert synced[-1] == len(encode(act(0)))


def test_a_torn_last_line_is_passed_by_and_the_next_line_stays_whole(start: Callable[[], Journal], path: Path) -> None:
    start().append(act(0))
    path.write_bytes(path.read_bytes() + encode(act(1))[:-20])

    again = start()
    assert again.acts() == [act(0)]
    again.append(act(2))

    assert start().acts() == [act(0), act(2)]


def test_what_was_told_is_kept_aside_and_nothing_is_left_to_tell(start: Callable[[], Journal], path: Path) -> None:
    told = start()
    told.append(act(0))

    told.close_chapter()

    assert told.is_empty and start().is_empty
    (kept,) = path.parent.glob("journal-told-*.log")
    assert kept.read_bytes() == encode(act(0))


def test_so_many_old_journals_are_kept_and_no_more(
    start: Callable[[], Journal], path: Path, clock: ManualClock
) -> None:
    told = start()
    for number in range(KEPT_MAX + 3):
        told.append(act(number))
        told.close_chapter()
        clock.sleep(1)

    kept = sorted(path.parent.glob("journal-told-*.log"))
    assert len(kept) == KEPT_MAX
    assert kept[-1].read_bytes() == encode(act(KEPT_MAX + 2))


def test_a_journal_of_a_newer_engine_is_kept_aside_unread(
    start: Callable[[], Journal], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.parent.mkdir()
    body = b'{"format":99}'
    path.write_bytes(checksum(body).encode() + b" " + body + b"\n")

    assert start().acts() == []

    assert len(list(path.parent.glob("journal-refused-*.log"))) == 1
    assert "newer engine" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "Make the folder")])
def test_acts_are_kept_and_entries_closed_until_the_disk_takes_them(
    start: Callable[[], Journal], health: HealthTracker, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    full = start()
    with monkeypatch.context() as broken:
        broken.setattr(journal.os, "fsync", fail)
        full.append(act(0))

    assert health.is_paused() and words in str(health.local_fault)
    assert full.acts() == [act(0)]

    full.append(act(1))

    assert not health.is_paused()
    assert [a for a in start().acts() if a != act(0)] == [act(1)], "a line may be there twice, never missing"
    assert act(0) in start().acts()


def test_half_a_line_before_a_whole_one_hides_neither(
    start: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch, health: HealthTracker
) -> None:
    full = start()
    full.append(act(0))
    write = os.write
    with monkeypatch.context() as broken:
        broken.setattr(journal.os, "write", lambda file, data: write(file, data[:30]))
        full.append(act(1))
    assert "disk is full" in str(health.local_fault)

    full.append(act(2))

    assert start().acts() == [act(0), act(1), act(2)]


def test_an_unwritable_folder_is_named(start: Callable[[], Journal], path: Path, health: HealthTracker) -> None:
    path.parent.write_text("a file where the folder should be")

    start().append(act(0))

    assert str(path) in str(health.local_fault) and "cannot be written" in str(health.local_fault)


def test_two_engines_of_a_machine_do_not_tell_each_others_acts(
    path: Path, clock: ManualClock, health: HealthTracker
) -> None:
    first, second = (Journal(path, clock, health.note_disk) for _ in range(2))
    first.append(act(0))

    assert second.acts() == []
    assert "another engine of this machine" in str(health.local_fault)
    second.close_chapter()

    assert first.acts() == [act(0)] and path.exists()
