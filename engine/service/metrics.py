"""What the engine counts, for Prometheus. docs/metrics.md lists every metric; a test holds the two together.

Names follow Prometheus: base units, `_total` for counters. Labels take few values: never an id, a symbol or a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from engine.domain.health import JobState
from engine.service.health_tracker import HealthTracker

_STAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
_PAUSE_BUCKETS: Final = (10, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200, 604800)

GATE_ANSWERS: Final = Counter("interlock_gate_answers_total", "Entries put to the gate, by answer.", ["answer"])
ENTRIES_BLOCKED: Final = Counter(
    "interlock_entries_blocked_total",
    "Entries that the gate denied, at the request or at the release, by code.",
    ["code"],
)
LAYER_BLOCKS: Final = Counter("interlock_layer_blocks_total", "Entries that a layer held back, by layer.", ["layer"])
SUBMISSIONS: Final = Counter("interlock_submissions_total", "Orders sent, by outcome.", ["purpose", "outcome"])
ORDER_STAGE: Final = Histogram(
    "interlock_order_stage_seconds",
    "How long an order took from one step to the next, by the database's clock.",
    ["purpose", "stage"],
    buckets=_STAGE_BUCKETS,
)
GATE_CALL: Final = Histogram(
    "interlock_gate_call_seconds", "From a signal to the gate's answer, per call.", buckets=_STAGE_BUCKETS
)
BROKER_SUBMIT: Final = Histogram(
    "interlock_broker_submit_seconds", "How long the broker took to answer a submission.", buckets=_STAGE_BUCKETS
)
CONTROL_CHANGES: Final = Counter(
    "interlock_control_changes_total", "Changes of a trading mode, by who made them.", ["scope", "to_mode", "by"]
)
PAUSE_DURATION: Final = Histogram(
    "interlock_pause_duration_seconds",
    "How long a scope did not run, noted when it resumes.",
    ["scope"],
    buckets=_PAUSE_BUCKETS,
)
OPEN_TRADES: Final = Gauge("interlock_open_trades", "Trades that are open.")
PROFILES: Final = Gauge("interlock_profiles", "Profiles of the shard, by whether they are active.", ["active"])
FINDINGS: Final = Gauge("interlock_reconciliation_findings", "Differences the last reconciliation left.")
FINDINGS_OPEN: Final = Gauge(
    "interlock_reconciliation_findings_open", "Open differences of the shard, by kind.", ["kind"]
)
RATE_LIMIT_REMAINING: Final = Gauge(
    "interlock_broker_rate_limit_remaining",
    "Requests that the broker still allows now, beside those kept for exits and cancels.",
)
JOB_RUNS: Final = Counter("interlock_job_runs_total", "Runs of jobs, by result.", ["job", "result"])
JOB_DURATION: Final = Histogram(
    "interlock_job_duration_seconds", "How long runs of jobs took.", ["job"], buckets=_STAGE_BUCKETS
)
JOB_LAG: Final = Gauge("interlock_job_lag_seconds", "How much later than planned a job's last run began.", ["job"])
ALERTS_OPEN: Final = Gauge("interlock_alerts_open", "Alerts that are open, by rule.", ["rule"])
NOTICES: Final = Counter("interlock_notices_total", "Notices of alerts, by what came of sending them.", ["outcome"])
NOTICES_WAITING: Final = Gauge("interlock_notices_waiting", "Notices in the outbox that are not sent yet.")
NOTICE_DELIVERY: Final = Histogram(
    "interlock_notice_delivery_seconds", "How long it took to hand a notice to its targets.", buckets=_STAGE_BUCKETS
)


def set_all(gauge: Gauge, values: Mapping[str, float]) -> None:
    """Set a gauge of one label to exactly these values; what is not named is forgotten."""
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)


class _Health(Collector):
    """Ages, readiness and pauses, computed when they are asked for: a dead job cannot report on itself."""

    tracker: HealthTracker | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the families without samples, so that they are known before an engine runs."""
        return self._families({}, None)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return how the engine is at this moment."""
        if self.tracker is None:
            return self.describe()
        return self._families(self.tracker.job_states(), self.tracker)

    def _families(self, jobs: Mapping[str, JobState], tracker: HealthTracker | None) -> list[GaugeMetricFamily]:
        age = GaugeMetricFamily("interlock_job_age_seconds", "Since a job last succeeded.", labels=["job"])
        limit = GaugeMetricFamily(
            "interlock_job_limit_seconds", "The age at which a job counts as dead.", labels=["job"]
        )
        compared = GaugeMetricFamily(
            "interlock_reconciliation_age_seconds",
            "Since the books were last compared with the broker's.",
            labels=["kind"],
        )
        ready = GaugeMetricFamily("interlock_ready", "1 while the engine trades as it should.")
        paused = GaugeMetricFamily("interlock_entries_paused", "1 while no entry may be sent, for whatever reason.")
        heard = GaugeMetricFamily("interlock_authority_age_seconds", "Since the authority was last heard.")
        for name, job in jobs.items():
            age.add_metric([name], job.age_s)
            limit.add_metric([name], job.limit_s)
            if name in ("reconcile", "reconcile_full"):
                compared.add_metric(["full" if name == "reconcile_full" else "incremental"], job.age_s)
        if tracker is not None:
            ready.add_metric([], float(tracker.is_ready))
            paused.add_metric([], float(tracker.is_paused()))
            heard.add_metric([], tracker.control_age_s)
        return [age, limit, compared, ready, paused, heard]


_health: Final = _Health()
REGISTRY.register(_health)


def watch(tracker: HealthTracker) -> None:
    """Report this engine's health from now on: there is one engine in a process."""
    _health.tracker = tracker
