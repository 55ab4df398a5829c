"""What people read about plans, prices, lockouts and refusals says exactly what is the case."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from db.models import PreflightItem
from pages.components.approvals import drift_words
from pages.components.lockouts import ticker_words
from pages.components.plan_form import dates_of
from pages.components.preflight import failing_words, item_detail, item_words
from pages.components.schedules import condition_words, plan_words
from pages.components.targets import target_name

ZONE = ZoneInfo("UTC")
NAMES = {"7": "Alice trend daily"}


def plan(**changes: Any) -> dict[str, Any]:
    """Return a plan that pauses all trading every Monday and Friday, with changes."""
    return {
        "scope": "global", "scope_key": "*", "mode": "PAUSED", "kind": "weekly", "time_zone": "America/New_York",
        "starts_at": pd.NaT, "ends_at": pd.NaT, "weekdays": [5, 1], "dates": None, "days_before": 0.0,
        "days_after": 0.0, "start_time": "15:30:00", "end_time": "16:00:00", "inverted": False, "condition": None,
        "resume_condition": None,
    } | changes  # fmt: skip


START, END = pd.Timestamp("2026-01-05T15:00Z"), pd.Timestamp("2026-01-05T16:00Z")
DRAWDOWN = {"metric": "drawdown", "above": 0.1, "for_s": 60}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Pause all trading every Mon, Fri, 15:30 to 16:00 (America/New_York)"),
        ({"inverted": True, "scope": "symbol", "scope_key": "IBM"},
         "Pause IBM except every Mon, Fri, 15:30 to 16:00 (America/New_York)"),
        ({"kind": "once", "starts_at": START, "ends_at": END, "scope": "profile", "scope_key": "7"},
         "Pause profile Alice trend daily at 05 Jan 2026, 15:00:00 UTC until 05 Jan 2026, 16:00:00 UTC"),
        ({"kind": "once", "starts_at": START, "mode": "RUNNING"}, "Resume all trading at 05 Jan 2026, 15:00:00 UTC"),
        ({"kind": "dates", "dates": ["2026-04-29", "2026-01-28"], "days_before": 1.0, "start_time": "00:00:00"},
         "Pause all trading around 28 Jan 2026, 29 Apr 2026 (from 1 day before), 00:00 to 16:00 (America/New_York)"),
        ({"kind": "condition", "condition": DRAWDOWN, "mode": "HALTED"},
         "Halt all trading when the drawdown is above 10 % for 60 s"),
        ({"kind": "condition", "condition": DRAWDOWN, "resume_condition": {"metric": "drawdown", "below": 0.05}},
         "Pause all trading while the drawdown is above 10 % for 60 s, until the drawdown is below 5 %"),
    ],
)  # fmt: skip
def test_plan_is_told_as_a_sentence(changes: dict[str, Any], words: str) -> None:
    assert plan_words(plan(**changes), NAMES, ZONE) == words


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"metric": "loss_streak", "above": 3}, "the streak of losses is above 3 trades"),
        ({"metric": "data_age_s", "above": 90}, "the age of the market data is above 90 s"),
        ({"metric": "volatility", "below": 0.015}, "the daily volatility is below 1.5 %"),
    ],
)
def test_condition_is_told_in_its_own_unit(condition: dict[str, Any], words: str) -> None:
    assert condition_words(condition) == words


def approval(**changes: Any) -> dict[str, Any]:
    return {"side": "buy", "reference_price": 100.0, "limit_price": 100.5} | changes


def price(value: float) -> pd.Series:
    return pd.Series({"price": value, "price_at": pd.Timestamp("2007-01-03T16:00Z"), "source": "mark"})


def test_drift_says_how_far_the_price_has_moved() -> None:
    words = drift_words(approval(), price(100.4), ZONE)

    assert words.startswith("$100.40 now (+0.40 %), $100.00 when it was asked; latest mark")
    assert "LIMIT" not in words


@pytest.mark.parametrize(("side", "latest", "word"), [("buy", 101.0, "ABOVE"), ("sell", 100.0, "BELOW")])
def test_drift_warns_when_the_limit_no_longer_allows_a_fill(side: str, latest: float, word: str) -> None:
    assert f"{word} ITS LIMIT" in drift_words(approval(side=side), price(latest), ZONE)


def test_drift_says_so_when_no_later_price_is_known() -> None:
    assert drift_words(approval(), None, ZONE) == "$100.00 when it was asked; no later price is known"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "IBM"),
        ({"ticker": "*"}, "Every symbol"),
        ({"side": "short"}, "IBM, short entries only"),
        ({"profile_id": "7", "profile_name": "Alice"}, "IBM, Alice only"),
        ({"profile_id": "7"}, "IBM, one profile only"),
    ],
)
def test_lockout_names_what_it_keeps_out(changes: dict[str, Any], words: str) -> None:
    nothing = float("nan")  # as a frame holds what is missing
    assert (
        ticker_words({"ticker": "IBM", "side": nothing, "profile_id": nothing, "profile_name": nothing} | changes)
        == words
    )


def test_dates_are_read_once_each_and_in_order() -> None:
    assert dates_of("2026-04-29,2026-01-28 2026-04-29") == [date(2026, 1, 28), date(2026, 4, 29)]


@pytest.mark.parametrize(("text", "problem"), [("", "at least one"), ("2026-02-30", "2026-02-30"), ("soon", "soon")])
def test_dates_are_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        dates_of(text)


def test_preflight_item_speaks_of_what_is_met_and_what_is_not() -> None:
    met, failed = (item_words(PreflightItem(item="ENGINE_ALIVE", ok=ok, detail="")) for ok in (True, False))

    assert (met, failed) == ("The engine is alive", "The engine gives no sign of life")


def test_preflight_detail_is_marked_when_it_says_what_should_be() -> None:
    books = PreflightItem(item="RECONCILED", ok=False, detail="The books agree.")
    engine = PreflightItem(item="ENGINE_ALIVE", ok=False, detail="The engine reported never.")

    assert item_detail(books) == "Needed: The books agree."
    assert item_detail(engine) == "The engine reported never."


def test_preflight_list_in_one_sentence_holds_what_fails_once_each() -> None:
    items = [PreflightItem(item=item, ok=ok, detail="") for item, ok in (
        ("ENGINE_ALIVE", False), ("ENGINE_ALIVE", False), ("DATA_FRESH", False), ("RECONCILED", True))]  # fmt: skip

    assert failing_words(items) == "Market data are old; The engine gives no sign of life."


def test_preflight_item_that_is_new_is_named_as_it_is() -> None:
    assert item_words(PreflightItem(item="MOON_FULL", ok=False, detail="")) == "Not met: MOON_FULL"


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        (("global", "*"), "all trading"),
        (("profile", "7"), "profile Alice trend daily"),
        (("profile", "8"), "profile 8"),
        (("symbol", "IBM"), "IBM"),
    ],
)
def test_scope_is_called_by_its_name(scope: tuple[str, str], name: str) -> None:
    assert target_name(*scope, NAMES) == name
