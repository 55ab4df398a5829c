import numpy as np
import pytest

from engine.domain.errors import ConfigError
from engine.domain.strategies import build_strategy, ma_crossover, relative_strength, rsi_reversion


def closes(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


class TestMaCrossover:
    def test_enters_when_the_fast_average_crosses_above(self) -> None:
        verdict = ma_crossover(closes(10, 10, 10, 10, 13), fast=2, slow=3)

        assert verdict.action == "enter"
        assert "crossed above" in verdict.reason

    def test_exits_when_the_fast_average_crosses_below(self) -> None:
        assert ma_crossover(closes(10, 11, 12, 13, 7), fast=2, slow=3).action == "exit"

    def test_holds_when_it_stays_above_without_crossing(self) -> None:
        assert ma_crossover(closes(10, 11, 12, 13, 14), fast=2, slow=3).action == "hold"

    def test_holds_when_the_price_is_flat(self) -> None:
        assert all(ma_crossover(closes(*[0.1] * n), fast=7, slow=20).action == "hold" for n in range(21, 60))

    def test_holds_when_there_are_too_few_bars(self) -> None:
        assert ma_crossover(closes(10, 11, 12), fast=2, slow=3).action == "hold"


class TestRsiReversion:
    @pytest.mark.parametrize(
        ("prices", "action"),
        [
            ((10, 9, 8), "enter"),  # only losses: 0
            ((10, 11, 12), "exit"),  # only gains: 100
            ((10, 11, 10), "hold"),  # as much up as down: 50
            ((10, 10, 10), "hold"),  # nothing moved: 50
            ((10, 9), "hold"),  # too few bars
        ],
    )
    def test_acts_on_the_edges_only(self, prices: tuple[float, ...], action: str) -> None:
        assert rsi_reversion(closes(*prices), period=2, low=30, high=70).action == action

    def test_strength_grows_when_the_index_is_further_below(self) -> None:
        slightly = rsi_reversion(closes(10, 9, 9.3), period=2, low=30, high=70)
        deeply = rsi_reversion(closes(10, 9, 8), period=2, low=30, high=70)

        assert 0 <= slightly.strength < deeply.strength <= 1


def test_the_index_is_fifty_when_nothing_moves() -> None:
    assert relative_strength(closes(5, 5, 5, 5), 2).tolist() == [50.0, 50.0]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("hope", {}),
        ("ma_crossover", {"fast": 20, "slow": 5}),
        ("ma_crossover", {"fast": 5}),
        ("ma_crossover", {"fast": "x", "slow": 5}),
        ("rsi_reversion", {"period": 14, "low": 70, "high": 30}),
        ("rsi_reversion", {"period": 0, "low": 30, "high": 70}),
    ],
)
def test_a_strategy_is_refused_when_its_parameters_do_not_fit(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build_strategy(name, params)
