"""Readiness and liveness, judged from values."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.health import (
    LIMIT_MIN_S,
    LIMIT_SLACK_MAX_S,
    EngineState,
    JobState,
    liveness_limit_s,
    not_ready_reasons,
)

ALIVE = JobState(age_s=1, limit_s=10)
WELL = EngineState(
    jobs={"reconcile": ALIVE}, control_age_s=1, control_age_max_s=10, brake_is_on=False, broker_blocked=False
)


def test_an_engine_that_is_well_is_ready() -> None:
    assert not_ready_reasons(WELL) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"jobs": {}}, "still recovering"),
        ({"control_age_s": float("inf")}, "has not been heard yet"),
        ({"control_age_s": 11.2}, "has not been heard for 11 s"),
        ({"brake_is_on": True}, "local brake is on"),
        ({"broker_blocked": True}, "blocked or suspended"),
        ({"local_fault": "the disk is full"}, "The disk is full."),
        ({"jobs": {"submit": replace(ALIVE, age_s=11)}}, "Job submit has not succeeded for 11 s; its limit is 10 s."),
        ({"jobs": {"submit": replace(ALIVE, age_s=11, last_error="X: y")}}, "Its last error: X: y"),
    ],
)
def test_each_thing_that_is_wrong_is_one_sentence(changes: dict[str, object], says: str) -> None:
    (reason,) = not_ready_reasons(replace(WELL, **changes))

    assert says in reason
    assert reason[0].isupper()


def test_whether_the_account_is_blocked_need_not_be_known() -> None:
    assert not_ready_reasons(replace(WELL, broker_blocked=None)) == []


@pytest.mark.parametrize(("every_s", "limit_s"), [(0.3, 10), (1, 10), (15, 75), (60, 300), (3600, 3900)])
def test_a_job_has_a_few_runs_to_miss_but_a_rare_one_not_hours(every_s: float, limit_s: float) -> None:
    assert liveness_limit_s(every_s) == limit_s


@settings(deadline=None)
@given(st.floats(0.01, 100_000))
def test_a_limit_always_lets_a_job_be_due_once_more(every_s: float) -> None:
    assert every_s < liveness_limit_s(every_s) <= max(LIMIT_MIN_S, every_s + LIMIT_SLACK_MAX_S)
