"""What the engine knows about itself: may it trade, and do its jobs run."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from engine.domain.control import ControlMode, TradingControl
from engine.domain.health import EngineState, JobState, not_ready_reasons
from engine.ports.clock import Clock
from engine.service.local_brake import LocalBrake


@dataclass(slots=True)
class JobHealth:
    """The last runs of one job. Seconds are monotonic; `limit_s` is the age that counts as dead."""

    limit_s: float
    done_s: float
    runs: int = 0
    failures: int = 0
    last_error: str | None = None
    due_s: float | None = None


class HealthTracker:
    """Thread-safe; every job and the HTTP API read it."""

    def __init__(self, clock: Clock, brake: LocalBrake, *, control_age_max_s: float) -> None:
        self._clock = clock
        self._brake = brake
        self._control_age_max_s = control_age_max_s
        self._lock = threading.Lock()
        self._control: TradingControl | None = None
        self._control_s = 0.0
        self._jobs: dict[str, JobHealth] = {}
        self.broker_blocked: bool | None = None  # None: not known yet
        self.is_stopping = False  # what is in flight is finished, nothing is opened any more
        self.local_fault: str | None = None  # what keeps this machine from opening positions: a full disk

    def record_trading_control(self, control: TradingControl) -> None:
        """Keep what the authority says about trading right now."""
        with self._lock:
            self._control = control
            self._control_s = self._clock.monotonic_s()

    def note_disk(self, problem: str | None) -> None:
        """Keep what is wrong with this machine's disk; None once all is well. Entries stay closed meanwhile."""
        self.local_fault = problem

    @property
    def control(self) -> TradingControl | None:
        """What the authority said last; None before the first word."""
        return self._control

    @property
    def is_stale(self) -> bool:
        """Tell whether the authority has not been heard for too long."""
        return self.control_age_s > self._control_age_max_s

    @property
    def control_age_s(self) -> float:
        """How long ago the authority was last heard, in seconds; infinite before the first word."""
        return float("inf") if self._control is None else self._clock.monotonic_s() - self._control_s

    def is_paused(self, profile_id: str | None = None, symbol: str | None = None) -> bool:
        """Tell whether entries must not be sent: paused, halted, braked, or not known.

        Not knowing stops entries too: what cannot be read is not assumed to be RUNNING.
        """
        if self.is_stopping or self._brake.is_on or self.local_fault or self.is_stale or self._control is None:
            return True
        return self._control.mode_of(profile_id, symbol) is not ControlMode.RUNNING

    @property
    def brake_is_on(self) -> bool:
        return self._brake.is_on

    def expect_job(self, name: str, limit_s: float) -> None:
        now = self._clock.monotonic_s()
        with self._lock:
            self._jobs[name] = JobHealth(limit_s=limit_s, done_s=now)

    def expect_no_jobs(self) -> None:
        """Forget the jobs: none is due until they are expected again."""
        with self._lock:
            self._jobs = {}

    def job_began(self, name: str, every_s: float) -> float:
        """Note that a job begins; return how many seconds later than it was due."""
        now = self._clock.monotonic_s()
        with self._lock:
            job = self._jobs[name]
            due_s, job.due_s = job.due_s, now + every_s
        return 0.0 if due_s is None else max(0.0, now - due_s)

    def job_done(self, name: str) -> None:
        with self._lock:
            job = self._jobs[name]
            job.done_s = self._clock.monotonic_s()
            job.runs += 1
            job.last_error = None

    def job_failed(self, name: str, error: BaseException) -> bool:
        """Note that a run failed; tell whether that is news, and not the last run's error again."""
        with self._lock:
            job = self._jobs[name]
            job.failures += 1
            before, job.last_error = job.last_error, f"{type(error).__name__}: {error}"[:300]
            return job.last_error != before

    def job_states(self) -> dict[str, JobState]:
        """Return each job's runs, with its age since its last good run."""
        now = self._clock.monotonic_s()
        with self._lock:
            return {
                name: JobState(
                    age_s=now - job.done_s,
                    limit_s=job.limit_s,
                    runs=job.runs,
                    failures=job.failures,
                    last_error=job.last_error,
                )
                for name, job in self._jobs.items()
            }

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return each job's age since its last good run, against its limit (seconds), as others read it."""
        return {
            name: {
                "age_s": round(job.age_s, 3),
                "limit_s": job.limit_s,
                "healthy": job.is_healthy,
                "runs": job.runs,
                "failures": job.failures,
                "last_error": job.last_error,
            }
            for name, job in self.job_states().items()
        }

    def not_ready_because(self) -> list[str]:
        """Return why the engine does not trade as it should, a sentence each; empty when it does."""
        return not_ready_reasons(
            EngineState(
                jobs=self.job_states(),
                control_age_s=self.control_age_s,
                control_age_max_s=self._control_age_max_s,
                brake_is_on=self._brake.is_on,
                broker_blocked=self.broker_blocked,
                local_fault=self.local_fault,
            )
        )

    @property
    def is_ready(self) -> bool:
        return not self.not_ready_because()
