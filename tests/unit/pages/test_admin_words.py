"""What the admin pages say of engines, findings, alerts, members and the log is exactly what is the case."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from db.models import AuditProof
from db.queries.alerts import RULES
from db.queries.members import ROLES
from pages.components.alerts import mute_words
from pages.components.alerts_rules import RULE_WORDS
from pages.components.audit import for_export, proof_words, target_words
from pages.components.engine_jobs import engine_facts, engine_state
from pages.components.findings import finding_lines, finding_words
from pages.components.members import MAY, matching
from pages.components.overrides import override_words
from pages.components.time_zone import EXCHANGE

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def engine(**changes: Any) -> dict[str, Any]:
    """Return an engine that is alive and holds its lease, with changes."""
    return {
        "shard": "main", "version": "1.2.3", "beat_at": NOW - timedelta(seconds=2), "started_at": NOW, "market_at": NOW,
        "lease_holder": "host-1", "lease_token": 7.0, "lease_expires_at": NOW + timedelta(seconds=8),
        "detail": {"data_age_s": 1.5, "broker_blocked": False},
    } | changes  # fmt: skip


def jobs(*healthy: bool) -> pd.DataFrame:
    return pd.DataFrame({"healthy": pd.Series(healthy, dtype="boolean")})


@pytest.mark.parametrize(
    ("changes", "found", "state"),
    [
        ({}, jobs(True, True), "alive"),
        ({}, jobs(True, False), "alive, 1 job late"),
        ({"lease_expires_at": NOW}, jobs(True), "without lease"),
        ({"lease_expires_at": pd.NaT}, jobs(True), "without lease"),
        # An engine that is silent is silent, whatever its jobs said when it last told.
        ({"beat_at": NOW - timedelta(seconds=16)}, jobs(True), "silent"),
    ],
)
def test_engine_is_called_what_it_is(changes: dict[str, Any], found: pd.DataFrame, state: str) -> None:
    assert engine_state(engine(**changes), found, NOW)[1] == state


def test_facts_of_an_engine_carry_units_and_the_state_of_its_lease() -> None:
    facts = engine_facts(engine(), NOW, EXCHANGE)
    late = engine_facts(engine(lease_expires_at=NOW - timedelta(minutes=3)), NOW, EXCHANGE)

    assert facts["Lease"] == "host-1, token 7, 8 s left"
    assert late["Lease"] == "host-1, token 7, ran out 3 min ago"
    assert (facts["Data age (s)"], facts["Broker blocked"]) == ("1.5", "No")


def test_finding_says_what_was_done_and_what_to_do() -> None:
    finding = {"kind": "POSITION_MISMATCH", "symbol": "IBM", "shard": "main", "action": "", "advice": "Compare.",
               "detail": {"ours": "10", "broker": "7"}}  # fmt: skip

    assert finding_words(finding) == "Position mismatch in IBM, shard main"
    assert finding_lines(finding) == [
        "Done: nothing, it only looks.", "To do: Compare.", "Found: ours 10, broker 7.",
    ]  # fmt: skip


def test_every_rule_is_told_in_words() -> None:
    assert tuple(RULE_WORDS) == RULES


def test_every_role_says_what_it_may() -> None:
    assert set(MAY) == set(ROLES)


@pytest.mark.parametrize(
    ("rule", "subject", "words"),
    [
        ("JOB_LATE", "*", "Job late"),
        ("JOB_LATE", "main:submit", "Job late, about main:submit"),
        ("*", "main:submit", "Every rule, about main:submit"),
    ],
)
def test_mute_says_what_it_holds_back(rule: str, subject: str, words: str) -> None:
    assert mute_words({"rule": rule, "subject": subject}) == words


def test_override_says_whose_entries_pass_which_limit() -> None:
    override = {"code": "PRICE_COLLAR", "symbol": None, "profile_name": "Alice trend"}

    assert override_words(override) == "Price collar, every symbol, Alice trend"
    assert override_words(override | {"symbol": "IBM"}) == "Price collar, IBM, Alice trend"


MEMBERS = pd.DataFrame(
    {"email": ["ada@example.org", "bob@example.org"], "display_name": ["Ada (UK)", "Bob"], "role": ["admin", "analyst"]}
)


@pytest.mark.parametrize(
    ("text", "roles", "found"),
    [("", (), [0, 1]), ("bob", (), [1]), ("(uk", (), [0]), ("", ("admin",), [0]), ("bob", ("admin",), [])],
)
def test_members_are_found_by_text_and_role(text: str, roles: tuple[str, ...], found: list[int]) -> None:
    assert matching(MEMBERS, text, roles).index.tolist() == found


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        (AuditProof(ok=True, first_broken_id=None, chains=2, rows=10), "The log verifies: 10 rows in 2 chains"),
        (AuditProof(ok=False, first_broken_id=7, chains=1, rows=9,
                    first_broken={"action": "pause_trading", "at": "2026-11-20", "why": "It was changed."}),
         "It breaks at row 7 (Pause trading, 2026-11-20). It was changed. Do not rely"),
        # A chain of which every row is gone: its head alone is left.
        (AuditProof(ok=False, first_broken_id=0, chains=1, rows=0, first_broken={"action": None, "why": "Missing."}),
         "It breaks at the end of a chain. Missing."),
    ],
)  # fmt: skip
def test_proof_of_the_log_says_where_it_breaks(proof: AuditProof, says: str) -> None:
    assert says in proof_words(proof)


def test_details_are_exported_as_json() -> None:
    assert for_export(pd.DataFrame({"detail": [{"a": [1]}]}))["detail"].tolist() == ['{"a": [1]}']


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("symbol:IBM", "Symbol IBM"),
        ("risk_config", "Risk config"),
        ("profile:00000000-0000-0000-0000-000000000007", "Profile Alice trend daily"),
        ("approval:123e4567-e89b-12d3-a456-426614174000", "Approval 123e4567"),
        ("global:*", "Global *"),
    ],
)
def test_what_an_act_was_about_is_named_as_people_call_it(target: str, words: str) -> None:
    assert target_words(target, {"00000000-0000-0000-0000-000000000007": "Alice trend daily"}) == words
