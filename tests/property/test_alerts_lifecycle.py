"""Whatever opens, clears, is muted and looked at in any order: the alerts and their notices are as a model says."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEYS = ("a", "b", "c")
ENGINE = json.dumps({"role": "service_role"})
acts = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["break", "mend", "mute", "unmute"]), st.sampled_from(KEYS)),
        st.just(("look", "")),
    ),
    max_size=25,
)


@dataclass
class Model:
    """What should be, by plain sets."""

    broken: set[str] = field(default_factory=set)
    muted: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    notices: Counter[tuple[str, str]] = field(default_factory=Counter)

    def look(self) -> None:
        for key in self.open - self.broken:
            if key in self.told and key not in self.muted:
                self.notices[key, "resolved"] += 1
        self.told &= self.broken
        self.open = set(self.broken)
        for key in self.open - self.told - self.muted:
            self.notices[key, "opened"] += 1
            self.told.add(key)


class Database:
    """The same acts on the real tables."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def act(self, what: str, key: str) -> None:
        if what == "break":
            self._do(
                "insert into reconciliation_findings (run_id, shard, key, kind, status, first_seen_at, last_seen_at)"
                " select id, 'main', %s, 'POSITION_MISMATCH', 'open', now(), now() from reconciliation_runs limit 1"
                " on conflict do nothing",
                key,
            )
        elif what == "mend":
            self._do("update reconciliation_findings set status = 'repaired' where key = %s and status = 'open'", key)
        elif what == "mute":
            self._do(
                "insert into alert_mutes (rule, subject, reason, starts_at, expires_at, created_by_email)"
                " values ('*', %s, 'Known', now() - interval '1 s', now() + interval '1 h', 'operator')",
                f"main:{key}",
            )
        elif what == "unmute":
            self._do("update alert_mutes set removed_at = now() where subject = %s", f"main:{key}")
        else:
            self._do("update private.alert_watch set evaluated_at = '-infinity'")
            (answer,) = self._connection.execute("select evaluate_alerts(1)").fetchone() or ({},)
            assert answer["evaluated"], answer

    def open(self) -> set[str]:
        found = self._connection.execute(
            "select split_part(subject, ':', 2) from alerts where resolved_at is null and rule = 'RECONCILIATION_BREAK'"
        )
        return {key for (key,) in found.fetchall()}

    def notices(self) -> Counter[tuple[str, str]]:
        found = self._connection.execute(
            "select split_part(a.subject, ':', 2), n.event, count(*) from notifications n"
            " join alerts a on a.id = n.alert_id where a.rule = 'RECONCILIATION_BREAK' group by 1, 2"
        )
        return Counter({(key, event): count for key, event, count in found.fetchall()})

    def _do(self, statement: str, *values: str) -> None:
        self._connection.execute(statement, values)


@pytest.fixture
def begun(clean_db: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A connection that acts as an engine does, in a transaction for each example."""
    clean_db.execute(
        "insert into reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked,"
        " findings) values ('main', 'full', now(), now(), 0, 0, 0)"
    )
    clean_db.execute("select set_config('request.jwt.claims', %s, false)", (ENGINE,))
    yield clean_db
    clean_db.execute("select set_config('request.jwt.claims', '', false)")


@given(acts)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_alerts_and_notices_follow_what_is_broken_and_what_is_muted(begun, done) -> None:
    model, database = Model(), Database(begun)

    with begun.transaction(force_rollback=True):
        for what, key in [*done, ("look", ""), ("look", "")]:
            database.act(what, key)
            match what:
                case "break":
                    model.broken.add(key)
                case "mend":
                    model.broken.discard(key)
                case "mute":
                    model.muted.add(key)
                case "unmute":
                    model.muted.discard(key)
                case _:
                    model.look()
                    assert database.open() == model.open

        assert database.notices() == model.notices
