"""What a pause would do is told from the orders and positions within its scope, and from nothing else."""

import pandas as pd
import pytest

from pages.components.pause_preview import PauseEffect, effect_of, effect_words
from pages.components.targets import EVERYTHING, Target

ORDERS = pd.DataFrame(
    [
        ("p1", "AAPL", "entry", "ready"), ("p1", "IBM", "entry", "awaiting_approval"),
        ("p2", "IBM", "entry", "submitting"), ("p2", "IBM", "entry", "working"),
        ("p1", "AAPL", "stop_loss", "working"), ("p1", "AAPL", "take_profit", "working"),
        ("p2", "FB", "exit", "working"),
    ],
    columns=["profile_id", "symbol", "purpose", "state"],
)  # fmt: skip
POSITIONS = pd.DataFrame([("p1", "AAPL", True), ("p2", "FB", False)], columns=["profile_id", "symbol", "is_protected"])


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (EVERYTHING, PauseEffect(2, 1, ("IBM",), 1, 2, 2, ("FB",))),
        (Target("profile", "p1", "profile p1"), PauseEffect(2, 0, (), 0, 2, 1, ())),
        (Target("symbol", "IBM", "IBM"), PauseEffect(1, 1, ("IBM",), 0, 0, 0, ())),
        (Target("symbol", "MSFT", "MSFT"), PauseEffect(0, 0, (), 0, 0, 0, ())),
    ],
)
def test_only_what_lies_in_the_scope_counts(target: Target, found: PauseEffect) -> None:
    assert effect_of(ORDERS, POSITIONS, target) == found


def test_what_is_cancelled_and_what_stays_is_said_in_sentences() -> None:
    lines = effect_words(effect_of(ORDERS, POSITIONS, EVERYTHING))

    assert lines == [
        "Cancelled, unless you untick it: 2 entries not sent yet, 1 entry order at the broker (IBM).",
        "Waited for, until its fate is known: 1 entry on the way to the broker.",
        "Left alone: 2 open positions (1 protected by stops at the broker, 1 NOT PROTECTED (FB)), "
        "2 stop or target orders, 1 exit under way.",
    ]


def test_nothing_on_its_way_is_said_as_well() -> None:
    assert "No entry is on its way to the broker." in effect_words(effect_of(ORDERS[:0], POSITIONS[:0], EVERYTHING))
