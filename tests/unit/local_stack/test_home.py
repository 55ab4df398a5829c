"""LOCAL_HOME: one Interlock at a time, private files, keys that stay."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.errors import Busy, SetupError
from local.home import SOCKET_FOLDER_MAX, Home, write_env


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    held = Home(tmp_path / "home")
    held.acquire()
    yield held
    held.release()


class TestLock:
    def test_a_second_interlock_is_refused_when_one_holds_the_home(self, home: Home) -> None:
        with pytest.raises(Busy, match="is using"):
            Home(home.path).acquire()

    def test_the_home_is_free_again_when_it_was_released(self, home: Home) -> None:
        home.release()

        home.acquire()

    def test_the_folder_is_named_when_it_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(SetupError, match="cannot be written"):
            Home(tmp_path / "file" / "home").acquire()


class TestSockets:
    def test_they_lie_in_the_home_when_its_path_is_short(self, home: Home) -> None:
        assert home.sockets == home.path / "sockets"

    def test_they_lie_elsewhere_when_the_homes_path_is_too_long_and_go_with_it(self, tmp_path: Path) -> None:
        deep = Home(tmp_path / ("d" * SOCKET_FOLDER_MAX))
        deep.acquire()
        sockets = deep.sockets

        assert sockets.is_dir()
        assert len(str(sockets)) <= SOCKET_FOLDER_MAX
        deep.release()
        assert not sockets.exists()


class TestKeys:
    def test_they_are_the_same_when_read_again(self, home: Home) -> None:
        assert home.keys() == home.keys()

    def test_they_differ_between_installations(self, home: Home, tmp_path: Path) -> None:
        other = Home(tmp_path / "other")
        other.path.mkdir()

        assert home.keys() != other.keys()

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"secret_key": "x"})])
    def test_the_way_out_is_named_when_the_file_is_damaged(self, home: Home, text: str) -> None:
        (home.path / "keys.json").write_text(text)

        with pytest.raises(SetupError, match=r"keys\.json is damaged.*make reset"):
            home.keys()

    def test_only_the_owner_can_read_what_is_secret(self, home: Home) -> None:
        home.keys()
        write_env(home.env_file, {"A": "1", "B": "2"})

        assert home.env_file.read_text() == "A=1\nB=2\n"
        for file in (home.path / "keys.json", home.env_file):
            assert file.stat().st_mode & 0o777 == 0o600
