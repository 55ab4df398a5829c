import json
from pathlib import Path

from engine.domain.broker_types import MarketTime
from engine.service.snapshots import Snapshots
from engine.service.views import Book
from tests.unit.engine.builders import MARKET, NOON, a_snapshot, protected_trade
from tests.unit.engine.fakes import FakeAuthority, ManualClock


def test_state_is_in_the_file_and_in_the_database_when_it_was_saved(
    authority: FakeAuthority, book: Book, clock: ManualClock, tmp_path: Path
) -> None:
    authority.book = a_snapshot(trades=(protected_trade(),))
    book.read()
    snapshots = Snapshots(authority, book, clock, tmp_path / "engine" / "bot_state.json")

    snapshots.save_state(MARKET)

    state = snapshots.load_file()
    assert state is not None
    assert [trade["trade_id"] for trade in state["trades"]] == ["entry"]
    assert authority.saved[0]["trades"] == state["trades"]


def test_nothing_is_loaded_when_the_file_is_damaged_or_missing(
    authority: FakeAuthority, book: Book, clock: ManualClock, tmp_path: Path
) -> None:
    snapshots = Snapshots(authority, book, clock, tmp_path / "bot_state.json")
    assert snapshots.load_file() is None

    (tmp_path / "bot_state.json").write_text('{"trades": [')

    assert snapshots.load_file() is None


def test_the_old_file_stays_whole_when_a_draft_was_left_behind(
    authority: FakeAuthority, book: Book, clock: ManualClock, tmp_path: Path
) -> None:
    book.read()
    snapshots = Snapshots(authority, book, clock, tmp_path / "bot_state.json")
    snapshots.save_state(MARKET)

    (tmp_path / "bot_state.tmp").write_text("half")

    assert json.loads((tmp_path / "bot_state.json").read_text())["market_at"] == NOON.isoformat()


def test_equity_is_noted_once_when_the_market_closes(
    authority: FakeAuthority, book: Book, clock: ManualClock, tmp_path: Path
) -> None:
    snapshots = Snapshots(authority, book, clock, tmp_path / "bot_state.json")

    for is_open in (False, True, True, False, False):
        snapshots.watch_close(MarketTime(NOON, is_open))

    assert authority.equity == [NOON]
