"""The vectorised indicators against slow ones that follow the definition word by word."""

from itertools import pairwise
from statistics import pstdev

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.indicators import change, deviation, highest, lowest, moving_average, relative_strength

PRICES = st.lists(st.integers(1, 100_000).map(lambda cents: cents / 100), min_size=2, max_size=60)


def slow_average(values: list[float], period: int) -> list[float]:
    return [sum(values[n - period : n]) / period for n in range(period, len(values) + 1)]


def slow_relative_strength(values: list[float], period: int) -> list[float]:
    moves = [after - before for before, after in pairwise(values)]
    result = []
    for end in range(period, len(moves) + 1):
        window = moves[end - period : end]
        gains = sum(move for move in window if move > 0)
        losses = -sum(move for move in window if move < 0)
        result.append(50.0 if gains + losses == 0 else 100 * gains / (gains + losses))
    return result


def column(values: list[float]) -> np.ndarray:
    return np.array(values)[:, np.newaxis]


@settings(deadline=None, max_examples=50)
@given(PRICES, st.data())
def test_the_moving_average_equals_its_definition(prices: list[float], data: st.DataObject) -> None:
    period = data.draw(st.integers(1, len(prices)))

    average = moving_average(column(prices), period)[:, 0]

    assert np.isnan(average[: period - 1]).all()
    assert np.allclose(average[period - 1 :], slow_average(prices, period))


@settings(deadline=None, max_examples=50)
@given(PRICES, st.data())
def test_the_relative_strength_equals_its_definition(prices: list[float], data: st.DataObject) -> None:
    period = data.draw(st.integers(1, len(prices) - 1))

    fast = relative_strength(column(prices), period)[:, 0]

    assert np.isnan(fast[:period]).all()
    assert np.allclose(fast[period:], slow_relative_strength(prices, period))
    assert ((fast[period:] >= 0) & (fast[period:] <= 100)).all()


@settings(deadline=None, max_examples=50)
@given(PRICES, st.data())
def test_ranges_deviations_and_changes_equal_their_definitions(prices: list[float], data: st.DataObject) -> None:
    period = data.draw(st.integers(1, len(prices) - 1))
    last = prices[-period:]

    measured = [m(column(prices), period)[-1, 0] for m in (highest, lowest, deviation, change)]

    assert np.allclose(measured, [max(last), min(last), pstdev(last), prices[-1] / prices[-1 - period] - 1], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(PRICES, st.integers(1, 70))
def test_nothing_is_known_when_the_history_is_shorter_than_the_window(prices: list[float], more: int) -> None:
    period = len(prices) + more

    for indicator in (moving_average, highest, lowest, deviation, relative_strength, change):
        assert np.isnan(indicator(column(prices), period)).all()
