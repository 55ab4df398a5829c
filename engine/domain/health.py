"""How an engine is: which of its jobs are alive, and why it does not trade as it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LIMIT_RUNS: Final = 5  # so many runs may be missed ...
LIMIT_MIN_S: Final = 10.0  # ... but a quick job has this long at least ...
LIMIT_SLACK_MAX_S: Final = 300.0  # ... and a rare one is not missed for longer than this


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job's runs so far. `age_s`: since the last good run, or since it was first expected; seconds."""

    age_s: float
    limit_s: float
    runs: int = 0
    failures: int = 0
    last_error: str | None = None

    @property
    def is_healthy(self) -> bool:
        return self.age_s <= self.limit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What readiness is judged by. `control_age_s`: since the authority was last heard; infinite: never.

    `local_fault` says what keeps this machine from opening positions, such as a full disk.
    """

    jobs: Mapping[str, JobState]
    control_age_s: float
    control_age_max_s: float
    brake_is_on: bool
    broker_blocked: bool | None
    local_fault: str | None = None


def liveness_limit_s(every_s: float) -> float:
    """Return after how many seconds without a good run a job counts as dead."""
    return max(LIMIT_MIN_S, min(every_s * LIMIT_RUNS, every_s + LIMIT_SLACK_MAX_S))


def not_ready_reasons(state: EngineState) -> list[str]:
    """Return why the engine does not trade as it should, a sentence each; empty when it does."""
    reasons = [] if state.jobs else ["The engine is still recovering: no job has begun."]
    if state.control_age_s > state.control_age_max_s:
        reasons.append(_unheard(state.control_age_s))
    if state.brake_is_on:
        reasons.append("The local brake is on: nothing is sent until it is taken off.")
    if state.broker_blocked:
        reasons.append("The broker account may not trade: it is blocked or suspended there.")
    if state.local_fault:
        reasons.append(_sentence(state.local_fault))
    return reasons + [_late(name, job) for name, job in state.jobs.items() if not job.is_healthy]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _unheard(age_s: float) -> str:
    if age_s == float("inf"):
        return "The authority has not been heard yet."
    return f"The authority has not been heard for {age_s:.0f} s."


def _late(name: str, job: JobState) -> str:
    error = f" Its last error: {job.last_error}" if job.last_error else ""
    return f"Job {name} has not succeeded for {job.age_s:.0f} s; its limit is {job.limit_s:.0f} s.{error}"
