"""Every metric is in the documentation, and none but those that are there."""

import re
from pathlib import Path

import pytest
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import Metric

from engine.domain.control import ControlMode
from engine.ports.telemetry import Change, Cursors, Stage, Telemetry
from engine.service import metrics
from engine.service.health_tracker import HealthTracker
from engine.service.telemetry import TelemetryReader
from engine.service.views import Book
from tests.unit.engine.builders import a_profile, a_snapshot
from tests.unit.engine.fakes import FakeAuthority, ManualClock, a_control

DOCS = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(interlock_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", re.M)


def ours() -> dict[str, Metric]:
    """Return our metrics by the name under which they are asked for."""
    families = [family for family in REGISTRY.collect() if family.name.startswith("interlock_")]
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def labels_of(name: str) -> list[str]:
    registered = REGISTRY._names_to_collectors.get(name)
    if registered is not metrics._health:
        return list(getattr(registered, "_labelnames", ()))
    return next(list(family._labelnames) for family in metrics._health.describe() if family.name == name)


def test_the_table_of_metrics_is_what_is_registered() -> None:
    documented = {name: (kind, labels, text) for name, kind, labels, text in ROW.findall(DOCS.read_text())}

    registered = {
        name: (family.type, ", ".join(labels_of(name)), family.documentation) for name, family in ours().items()
    }

    assert documented == registered


@pytest.mark.parametrize("name", ours())
def test_names_say_their_unit_and_labels_take_few_values(name: str) -> None:
    kind = ours()[name].type

    assert (kind == "counter") == name.endswith("_total")
    assert kind != "histogram" or name.endswith("_seconds")
    assert not {"id", "symbol", "order_id", "profile", "email", "user", "reason"} & set(labels_of(name))


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


class FakeSource:
    def __init__(self, *answers: Telemetry) -> None:
        self.answers = list(answers)
        self.asked: list[Cursors | None] = []

    def read(self, after: Cursors | None) -> Telemetry:
        self.asked.append(after)
        return self.answers.pop(0)


def an_answer(**changes: object) -> Telemetry:
    nothing = {"cursors": Cursors(1, 2), "denied": {}, "findings": {}, "alerts": {}, "notices_waiting": 0}
    return Telemetry(**nothing | changes)  # type: ignore[arg-type]


@pytest.fixture
def reader_of(authority: FakeAuthority, clock: ManualClock):
    def reader_of(*answers: Telemetry) -> tuple[TelemetryReader, FakeSource]:
        source = FakeSource(*answers)
        return TelemetryReader(source, Book(authority, clock, age_max_s=0)), source

    return reader_of


def test_what_happened_is_counted_once_and_from_where_it_was_left(reader_of) -> None:
    before = value("interlock_control_changes_total", scope="global", to_mode="PAUSED", by="person") or 0
    blocked = value("interlock_entries_blocked_total", code="TRADING_PAUSED") or 0
    news = an_answer(
        cursors=Cursors(5, 6),
        changes=(Change("global", "PAUSED", "person", None), Change("global", "RUNNING", "schedule", 30.0)),
        stages=(Stage("entry", "submit_to_accepted", 0.02), Stage("entry", "accepted_to_filled", -0.001)),
        denied={"TRADING_PAUSED": 3},
    )
    reader, source = reader_of(an_answer(), news, an_answer(cursors=Cursors(5, 6)))

    assert [reader.run() for _ in range(3)] == [0, 4, 0]

    assert source.asked == [None, Cursors(1, 2), Cursors(5, 6)]
    assert value("interlock_control_changes_total", scope="global", to_mode="PAUSED", by="person") == before + 1
    assert value("interlock_entries_blocked_total", code="TRADING_PAUSED") == blocked + 3
    assert (value("interlock_pause_duration_seconds_sum", scope="global") or 0) >= 30
    assert (value("interlock_order_stage_seconds_count", purpose="entry", stage="accepted_to_filled") or 0) >= 1


def test_what_is_no_longer_open_is_no_longer_shown(reader_of) -> None:
    reader, _ = reader_of(an_answer(alerts={"JOB_LATE": 2}, findings={"X": 1}), an_answer(alerts={"ENGINE_DEAD": 1}))

    reader.run()
    assert value("interlock_alerts_open", rule="JOB_LATE") == 2
    reader.run()

    assert value("interlock_alerts_open", rule="JOB_LATE") is None
    assert value("interlock_alerts_open", rule="ENGINE_DEAD") == 1
    assert value("interlock_reconciliation_findings_open", kind="X") is None


def test_profiles_are_counted_as_the_books_show_them(authority: FakeAuthority, clock: ManualClock) -> None:
    authority.book = a_snapshot(profiles=(a_profile(id="a"), a_profile(id="b"), a_profile(id="c", active=False)))
    book = Book(authority, clock, age_max_s=0)
    book.read()

    TelemetryReader(FakeSource(an_answer()), book).run()

    assert (value("interlock_profiles", active="yes"), value("interlock_profiles", active="no")) == (2, 1)


def test_ages_are_those_of_the_moment_at_which_they_are_asked_for(health: HealthTracker, clock: ManualClock) -> None:
    metrics.watch(health)
    health.expect_job("reconcile_full", limit_s=100)
    assert value("interlock_ready") == 1

    clock.sleep(7)
    assert value("interlock_job_age_seconds", job="reconcile_full") == 7
    assert value("interlock_reconciliation_age_seconds", kind="full") == 7
    assert value("interlock_authority_age_seconds") == 7
    clock.sleep(100)
    assert value("interlock_ready") == 0

    health.record_trading_control(a_control(ControlMode.RUNNING))
    health.job_done("reconcile_full")
    assert value("interlock_ready") == 1


def test_a_job_that_begins_late_says_by_how_much(health: HealthTracker, clock: ManualClock) -> None:
    health.expect_job("submit", limit_s=10)

    assert health.job_began("submit", every_s=2) == 0
    clock.sleep(2)
    assert health.job_began("submit", every_s=2) == 0
    clock.sleep(5)
    assert health.job_began("submit", every_s=2) == 3


def test_everything_can_be_scraped() -> None:
    assert b"interlock_job_runs_total" in generate_latest(REGISTRY)
    assert CONTENT_TYPE_LATEST.startswith("text/plain")
