"""How values are written."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pages.components.formats import age, count, moment, money, quantity, signed_money, signed_percent, words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.891, "$1,234,567.89"),
        (-5.0, "-$5.00"),
        (0.0, "$0.00"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_money_has_separators_and_a_sign_before_the_currency(value: float | None, text: str) -> None:
    assert money(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.0, "+$12.00"),
        (-12.0, "-$12.00"),
        (0.001, "$0.00"),  # rounds to nothing, so it is no gain
    ],
)
def test_gain_and_loss_are_told_apart_by_sign(value: float, text: str) -> None:
    assert signed_money(value) == text


def test_percent_is_a_signed_fraction_times_hundred() -> None:
    assert signed_percent(-0.0125) == "-1.25 %"


@pytest.mark.parametrize(("value", "text"), [(10.0, "10"), (0.25, "0.25"), (20000.0, "20,000"), (1e-9, "0.000000001")])
def test_quantity_has_no_needless_zeros(value: float, text: str) -> None:
    assert quantity(value) == text


def test_moment_names_its_zone() -> None:
    at = datetime(2007, 1, 3, 15, 0, 5, tzinfo=UTC)

    assert moment(at, ZoneInfo("America/New_York")) == "03 Jan 2007, 10:00:05 EST"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-3, "0 s"), (89, "89 s"), (90, "1 min"), (3720, "1 h 2 min"), (4 * 86400, "4 days")],
)
def test_age_grows_coarser(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text


def test_words_and_counts_read_as_english() -> None:
    assert words("stop_loss") == "Stop loss"
    assert words(None) == "–"
    assert count(1, "entry") == "1 entry"
    assert count(1200, "entry") == "1,200 entries"
    assert count(2, "scope") == "2 scopes"
