from pathlib import Path

import pytest

from engine.domain.control import ControlMode
from engine.service.health_tracker import HealthTracker
from tests.unit.engine.fakes import ManualClock, a_control, a_health


@pytest.mark.parametrize(
    ("mode", "paused"),
    [(ControlMode.RUNNING, False), (ControlMode.PAUSED, True), (ControlMode.HALTED, True), (None, True)],
)
def test_entries_are_paused_unless_trading_is_known_to_run(
    clock: ManualClock, tmp_path: Path, mode: ControlMode | None, paused: bool
) -> None:
    assert a_health(clock, tmp_path, mode).is_paused() is paused


def test_only_a_paused_symbol_is_paused_when_the_rest_runs(health: HealthTracker) -> None:
    health.record_trading_control(a_control(AAPL=ControlMode.PAUSED))

    assert health.is_paused("profile", "AAPL")
    assert not health.is_paused("profile", "IBM")


def test_entries_are_paused_when_the_authority_was_not_heard_for_too_long(
    health: HealthTracker, clock: ManualClock
) -> None:
    clock.sleep(11)

    assert health.is_paused()


def test_entries_are_paused_when_the_local_brake_is_on(health: HealthTracker, tmp_path: Path) -> None:
    (tmp_path / "BRAKE").touch()

    assert health.is_paused()
    assert health.not_ready_because()[1] == "The local brake is on: nothing is sent until it is taken off."


def test_the_engine_is_not_ready_when_a_job_has_not_succeeded_in_time(
    health: HealthTracker, clock: ManualClock
) -> None:
    health.expect_job("sync", limit_s=3)
    assert health.is_ready

    clock.sleep(4)
    health.job_failed("sync", RuntimeError("no"))

    assert health.not_ready_because() == [
        "Job sync has not succeeded for 4 s; its limit is 3 s. Its last error: RuntimeError: no"
    ]
    assert health.jobs()["sync"]["last_error"] == "RuntimeError: no"


def test_the_engine_is_not_ready_when_its_jobs_have_not_begun(health: HealthTracker) -> None:
    assert health.not_ready_because() == ["The engine is still recovering: no job has begun."]
