"""What the machine sees of an engine: systemd, its watchdog, the brake file."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters import systemd
from engine.domain.errors import AuthorityUnavailable
from engine.service.health_tracker import HealthTracker
from engine.service.local_brake import LocalBrake
from engine.service.progress import HANGS_AFTER_S, Progress
from tests.unit.engine.builders import NOON
from tests.unit.engine.fakes import ManualClock


class TestSystemd:
    @pytest.fixture
    def manager(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        """A socket that listens as systemd does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(tmp_path / "notify"))
            listening.settimeout(5)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            yield listening

    def test_it_is_told_in_its_own_words(self, manager: socket.socket):
        assert systemd.notify(systemd.READY, "STATUS=Trading.")

        assert manager.recv(100) == b"READY=1\nSTATUS=Trading."

    def test_nothing_happens_where_nobody_listens(self, manager: socket.socket, monkeypatch, tmp_path: Path):
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
        assert not systemd.notify(systemd.READY)

        monkeypatch.delenv("NOTIFY_SOCKET")
        assert not systemd.notify(systemd.READY)

    @pytest.mark.parametrize(
        ("limit_us", "pid", "limit_s"),
        [("30000000", None, 30), ("30000000", "ours", 30), ("30000000", "1", None), ("", None, None),
         ("0", None, None), ("soon", None, None)],
    )  # fmt: skip
    def test_a_sign_of_life_is_given_when_it_is_wanted_of_this_process(self, monkeypatch, limit_us, pid, limit_s):
        monkeypatch.setenv("WATCHDOG_USEC", limit_us)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        if pid:
            monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)

        assert systemd.watchdog_s() == limit_s


class TestProgress:
    def test_a_job_that_fails_makes_progress_and_one_that_hangs_makes_none(
        self, health: HealthTracker, clock: ManualClock
    ):
        progress = Progress(health, lambda: True, clock)
        health.expect_job("fails", 10)
        health.expect_job("hangs", 10)
        for _ in range(8):
            health.job_failed("fails", AuthorityUnavailable("away"))
            assert progress.stuck() == []
            clock.sleep(10)

        health.job_failed("fails", AuthorityUnavailable("away"))
        assert clock.passed_s - 1000 > 10 + HANGS_AFTER_S
        assert progress.stuck() == ["hangs"]

        health.job_done("hangs")
        assert progress.stuck() == []

    def test_jobs_of_before_do_not_hang_while_a_second_recovery_turns(self, health: HealthTracker, clock: ManualClock):
        progress = Progress(health, lambda: True, clock)
        health.expect_job("heartbeat", 10)
        assert progress.stuck() == []

        health.expect_no_jobs()
        clock.sleep(200)
        assert progress.stuck() == []

        health.expect_job("heartbeat", 10)
        assert progress.stuck() == []

    @pytest.mark.parametrize(("turns", "stuck"), [(True, []), (False, ["recovery"])])
    def test_recovery_counts_before_the_first_job(self, health: HealthTracker, clock: ManualClock, turns, stuck):
        assert Progress(health, lambda: turns, clock).stuck() == stuck


class TestLocalBrake:
    def test_it_tells_when_who_and_why(self, tmp_path: Path):
        brake = LocalBrake(tmp_path / "home" / "BRAKE")
        assert brake.describe() is None and not brake.is_on

        brake.turn_on("prices look wrong", NOON, "ops@desk")

        assert brake.is_on
        assert brake.describe() == "2007-01-03 17:00:00Z ops@desk: prices look wrong"

    def test_it_is_off_after_it_was_turned_off_even_twice(self, tmp_path: Path):
        brake = LocalBrake(tmp_path / "BRAKE")
        brake.turn_on("test", NOON)

        brake.turn_off()
        brake.turn_off()

        assert not brake.is_on

    @pytest.mark.parametrize("make", ["touch", "mkdir", "dangling link"])
    def test_whatever_lies_there_stops_the_engine(self, health: HealthTracker, tmp_path: Path, make: str):
        path = tmp_path / "BRAKE"
        path.symlink_to(tmp_path / "nowhere") if make == "dangling link" else getattr(path, make)()

        assert health.brake_is_on and health.is_paused()
        assert LocalBrake(path).describe() == "no reason given"

    def test_what_cannot_be_looked_at_counts_as_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def refuse(_: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "lstat", refuse)

        assert LocalBrake(tmp_path / "BRAKE").is_on

    def test_a_full_disk_costs_the_reason_and_not_the_brake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        brake = LocalBrake(tmp_path / "BRAKE")

        brake.turn_on("test", NOON)

        assert brake.is_on


class TestStopping:
    def test_nothing_is_opened_once_the_engine_is_told_to_stop(self, health: HealthTracker):
        assert not health.is_paused()

        health.is_stopping = True

        assert health.is_paused()
