"""What happened in the authority, as the metrics need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Cursors:
    """The last change of mode and the last order event that were counted."""

    control: int
    order: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a mode by a person, a schedule or the system; `stopped_s` at a resume: how long it did not run."""

    scope: str
    to_mode: str
    by: str
    stopped_s: float | None


@dataclass(frozen=True, slots=True)
class Stage:
    """How long an order took from one step of its way to the next."""

    purpose: str
    stage: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What happened since the cursors, and how things stand."""

    cursors: Cursors
    changes: tuple[Change, ...] = ()
    stages: tuple[Stage, ...] = ()
    denied: Mapping[str, int]
    findings: Mapping[str, int]
    alerts: Mapping[str, int]
    notices_waiting: int


class TelemetrySource(Protocol):
    def read(self, after: Cursors | None) -> Telemetry:
        """Return what happened since the cursors, or since the lease was taken, and how things stand."""
        ...
