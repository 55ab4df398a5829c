"""What the Analyse pages say: counts that follow from the rows alone."""

import pandas as pd
import pytest

from engine.domain.risk import gate_checks
from pages.components.funnel import funnel_steps, stopped_by
from pages.components.funnel_filters import CODES
from pages.components.signals import layer_counts, rulings_of
from pages.components.why_words import CHECKS, code_words, value_words
from pages.components.why_words import CODES as MEANINGS
from tests.db.test_gate_twin import PASSES

AT = pd.Timestamp("2026-01-05T15:00:00Z")


def outcomes(*rows: tuple[str, str | None, float, bool, bool]) -> pd.DataFrame:
    """Rows of state, code, filled quantity, whether it was released and whether it was sent."""
    return pd.DataFrame(
        [
            {"state": state, "code": code, "filled_qty": filled, "ready_at": AT if ready else pd.NaT,
             "submitted_at": AT if sent else pd.NaT}
            for state, code, filled, ready, sent in rows
        ]
    )  # fmt: skip


ENTRIES = outcomes(
    ("filled", None, 10.0, True, True),
    ("working", None, 0.0, True, True),
    ("canceled", None, 0.0, True, False),
    ("approval_expired", None, 0.0, False, False),
    ("awaiting_approval", None, 0.0, False, False),
    ("denied", "DAILY_LOSS", 0.0, False, False),
    ("denied", "DAILY_LOSS", 0.0, False, False),
    ("denied", "TRADING_PAUSED", 0.0, False, False),
)


def test_each_step_of_the_funnel_counts_what_got_so_far() -> None:
    steps = funnel_steps(ENTRIES, blocked=4)

    assert steps["count"].tolist() == [12, 8, 5, 3, 2, 1]


def test_a_step_is_never_wider_than_the_one_before() -> None:
    assert funnel_steps(ENTRIES, blocked=0)["count"].is_monotonic_decreasing


def test_what_kept_entries_back_is_listed_by_code_the_most_frequent_first() -> None:
    blocked = pd.DataFrame({"blocked_by": ["macro"] * 3})

    found = stopped_by(ENTRIES, blocked)

    assert found.values.tolist()[:2] == [["macro", "Layer", 3], ["DAILY_LOSS", "Gate", 2]]
    assert set(found["code"][2:]) == {"TRADING_PAUSED", "canceled", "approval_expired"}


def test_every_check_of_the_gate_has_plain_words_and_a_place_in_the_filter() -> None:
    names = {check.name for check in gate_checks(PASSES)}

    assert names == set(CHECKS)
    assert names | {"LIMIT_NOT_SET"} == set(CODES) <= set(MEANINGS)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (True, "yes"), (False, "no"), (1234.5, "1,234.5"), (0, "0"), (10, "10"), ("PAUSED", "PAUSED")],
)
def test_limits_are_written_as_people_write_them(value: object, said: str) -> None:
    assert value_words(value) == said


def test_a_code_is_told_as_a_sentence() -> None:
    assert code_words("DAILY_LOSS") == "Too much lost that day"
    assert code_words("approval_expired") == "Nobody decided in time"


def test_a_layer_that_spoke_against_a_signal_alone_is_counted_apart() -> None:
    def detail(macro: bool, competitive: bool | None) -> dict[str, object]:
        said = {"macro": macro, "competitive": competitive}
        return {"layers": [{"layer": name, "passed": passed} for name, passed in said.items() if passed is not None]}

    signals = pd.DataFrame({"detail": [detail(False, True), detail(False, False), detail(True, None), None]})

    said = rulings_of(signals)

    assert layer_counts(said, "macro") == (3, 2, 1)
    assert layer_counts(said, "competitive") == (2, 1, 0)
