"""Telemetry: what happened in the authority, brought into the engine's metrics."""

from __future__ import annotations

from collections import Counter

from engine.ports.telemetry import Cursors, Telemetry, TelemetrySource
from engine.service import metrics
from engine.service.views import Book


class TelemetryReader:
    """Counts from its start on: each change and each order event once, however often it is asked."""

    def __init__(self, source: TelemetrySource, book: Book) -> None:
        self._source = source
        self._book = book
        self._cursors: Cursors | None = None

    def run(self) -> int:
        """Read what is new and count it; return how many changes and stages that were."""
        found = self._source.read(self._cursors)
        self._cursors = found.cursors
        _count(found)
        _show_state(found)
        self._show_profiles()
        return len(found.changes) + len(found.stages)

    def _show_profiles(self) -> None:
        snapshot = self._book.last
        if snapshot is None:
            return
        metrics.PROFILES.clear()
        for active, count in Counter(profile.active for profile in snapshot.profiles).items():
            metrics.PROFILES.labels("yes" if active else "no").set(count)


def _count(found: Telemetry) -> None:
    for change in found.changes:
        metrics.CONTROL_CHANGES.labels(change.scope, change.to_mode, change.by).inc()
        if change.stopped_s is not None:
            metrics.PAUSE_DURATION.labels(change.scope).observe(change.stopped_s)
    for stage in found.stages:
        metrics.ORDER_STAGE.labels(stage.purpose, stage.stage).observe(max(0.0, stage.seconds))
    for code, count in found.denied.items():
        metrics.ENTRIES_BLOCKED.labels(code).inc(count)


def _show_state(found: Telemetry) -> None:
    metrics.set_all(metrics.FINDINGS_OPEN, found.findings)
    metrics.set_all(metrics.ALERTS_OPEN, found.alerts)
    metrics.NOTICES_WAITING.set(found.notices_waiting)
