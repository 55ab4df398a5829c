"""A user's own strategy is one file and one registration."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.strategy_files import load_strategies
from engine.domain.errors import ConfigError
from engine.domain.strategies import Bars, Move, StrategyRegistry, first_difference, judge_history, judge_newest
from local.migrations import ROOT

EXAMPLE = ROOT / "examples" / "bollinger_reversion.py"
MINE = """
import numpy as np
from engine.domain.strategies import Params, Strategy, Verdicts

class MineParams(Params):
    days: int = 1

def judge(bars, params):
    frame = bars.frame("close")
    return Verdicts(long=(frame > 5) * 1, short=frame * 0, strength=frame / frame)

MINE = Strategy(name="mine", about="Mine.", params=MineParams, judge=judge, bars_needed=lambda params: params.days)
"""


def walk(seed: int, bars: int = 120) -> Bars:
    """Return a random walk of two symbols."""
    closes = 50 + np.random.default_rng(seed).normal(size=(bars, 2)).cumsum(axis=0).round(2)
    at = np.datetime64("2026-01-01", "us") + np.arange(bars) * np.timedelta64(1, "D")
    return Bars.aligned({s: (at, np.repeat(closes[:, [n]], 5, axis=1)) for n, s in enumerate(("AAPL", "IBM"))})


@pytest.mark.parametrize("seed", range(3))
def test_the_example_does_what_it_says_and_never_looks_ahead(seed: int) -> None:
    bound = StrategyRegistry(load_strategies(str(EXAMPLE))).bind("bollinger_reversion", {"period": 10, "width": "1.5"})
    bars = walk(seed)

    assert first_difference(bound, bars) is None
    verdicts = [judge_newest(bound, bars.head(n)).verdict("AAPL", None) for n in range(1, len(bars.close))]
    entered = [verdict for verdict in verdicts if verdict]
    assert entered
    assert all(v.move is Move.ENTER_LONG and v.facts["close"] < v.facts["lower"] for v in entered)
    assert "is below the lower band" in entered[0].reason


def test_the_examples_parameters_have_bounds() -> None:
    registry = StrategyRegistry(load_strategies(str(EXAMPLE)))

    with pytest.raises(ConfigError, match="width: should be less than or equal to 10"):
        registry.bind("bollinger_reversion", {"width": 11})


def test_the_one_in_the_documentation_works_as_it_stands_there(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "strategies.md").read_text(), re.DOTALL)
    file = tmp_path / "three_up.py"
    file.write_text(code)
    bound = StrategyRegistry(load_strategies(str(file))).bind("three_up", {})
    bars = walk(1)

    assert first_difference(bound, bars) is None
    rose = np.diff(bars.close[:, 0]) > 0
    three_in_a_row = rose[2:] & rose[1:-1] & rose[:-2]
    assert ((judge_history(bound, bars).long[3:, 0] == 1) == three_in_a_row).all() and three_in_a_row.any()


def test_a_file_may_think_in_data_frames(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    bound = StrategyRegistry(load_strategies(str(file))).bind("mine", {})

    verdict = judge_newest(bound, walk(1)).verdict("IBM", None)

    assert verdict is not None
    assert (verdict.move, verdict.reason) == (Move.ENTER_LONG, "mine wants to enter long")


def test_several_are_named_with_commas_and_modules_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_strategies_for_a_test.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))

    found = load_strategies(f"our_strategies_for_a_test, {os.path.relpath(EXAMPLE)},")

    assert [strategy.name for strategy in found] == ["mine", "bollinger_reversion"]
    assert load_strategies("") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("def judge(:", "cannot be imported: SyntaxError"),
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
        ("x = 1", "holds no Strategy; docs/strategies.md shows"),
    ],
)
def test_a_file_that_holds_no_strategy_stops_the_start_with_a_clear_message(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)

    with pytest.raises(ConfigError, match=says):
        load_strategies(str(file))


@pytest.mark.parametrize("name", ["no/such/file.py", "no_such_module"])
def test_what_is_not_there_stops_the_start_with_a_clear_message(name: str) -> None:
    with pytest.raises(ConfigError, match=f"ENGINE_STRATEGIES: {name} cannot be imported"):
        load_strategies(name)
