"""The vectorised indicators against slow ones that follow the definition word by word."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.strategies import ma_crossover, moving_average, relative_strength

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


@given(PRICES, st.data())
def test_the_moving_average_equals_its_definition(prices: list[float], data: st.DataObject) -> None:
    period = data.draw(st.integers(1, len(prices)))

    assert np.allclose(moving_average(np.array(prices), period), slow_average(prices, period))


@given(PRICES, st.data())
def test_the_relative_strength_equals_its_definition(prices: list[float], data: st.DataObject) -> None:
    period = data.draw(st.integers(1, len(prices) - 1))

    fast = relative_strength(np.array(prices), period)

    assert np.allclose(fast, slow_relative_strength(prices, period))
    assert ((fast >= 0) & (fast <= 100)).all()


@given(PRICES, st.integers(1, 10), st.integers(1, 10))
def test_a_crossing_depends_on_nothing_but_the_last_bars(prices: list[float], fast: int, more: int) -> None:
    slow = fast + more
    whole = ma_crossover(np.array(prices), fast=fast, slow=slow)
    recent = ma_crossover(np.array(prices[-(slow + 1) :]), fast=fast, slow=slow)

    assert whole.action == recent.action
