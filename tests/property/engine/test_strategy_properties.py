"""Every strategy gives the answers of its slow twin, and never looks into the future."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.domain.strategies import (
    Bars,
    BoundStrategy,
    Params,
    Strategy,
    StrategyRegistry,
    Verdicts,
    first_difference,
    judge_history,
    judge_newest,
    signs,
)
from tests.property.engine import slow_strategies as slow
from tests.property.engine.slow_strategies import SlowBar

START = np.datetime64("2026-01-01", "us")
REGISTRY = StrategyRegistry()
PERIODS = st.integers(1, 6)
# Other work on the machine must not fail a test.
unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def histories(draw: st.DrawFn) -> Bars:
    """Draw bars of a few symbols in whole cents, with short histories and gaps."""
    shape = draw(st.integers(1, 24)), draw(st.integers(1, 4))
    close = draw(arrays(np.int64, shape, elements=st.integers(5, 30)))
    above = draw(arrays(np.int64, shape, elements=st.integers(0, 4)))
    there = draw(arrays(np.bool_, shape, elements=st.sampled_from([True, True, True, False])))
    columns = {}
    for symbol in range(shape[1]):
        rows = np.flatnonzero(there[:, symbol])
        prices = np.stack([close, close + above, close - above, close, close + 100], axis=-1)[rows, symbol] / 100
        columns[f"S{symbol}"] = (START + rows * np.timedelta64(1, "D"), prices)
    return Bars.aligned(columns)


@st.composite
def bound_strategies(draw: st.DrawFn) -> BoundStrategy:
    name = draw(st.sampled_from([strategy.name for strategy in REGISTRY]))
    return REGISTRY.bind(name, draw(params_of(name)) | {"allow_short": draw(st.booleans())})


def params_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    match name:
        case "ma_crossover":
            return st.builds(lambda fast, more: {"fast": fast, "slow": fast + more}, PERIODS, PERIODS)
        case "rsi_reversion":
            levels = st.lists(st.integers(1, 99), min_size=2, max_size=2, unique=True).map(sorted)
            return st.builds(lambda p, lv: {"period": p + 1, "low": lv[0], "high": lv[1]}, PERIODS, levels)
        case "donchian_breakout":
            return st.fixed_dictionaries({"entry_window": PERIODS, "exit_window": PERIODS})
        case _:
            return st.builds(
                lambda lookback, skip, top, more: {"lookback": lookback, "skip": skip, "top": top, "keep": top + more},
                PERIODS, st.integers(0, 3), st.integers(1, 3), st.integers(0, 2),
            )  # fmt: skip


def slow_answers(bound: BoundStrategy, bars: Bars) -> list[list[tuple[int, int]]]:
    """Judge every bar by the slow twin; (0, 0) where there is none."""
    params = bound.params.model_dump(exclude={"allow_short"})
    rows = [
        [
            SlowBar(*(round(float(m[row, column]) * 100) for m in (bars.high, bars.low, bars.close)))
            if not np.isnan(bars.close[row, column])
            else None
            for column in range(len(bars.symbols))
        ]
        for row in range(len(bars.close))
    ]
    if bound.strategy.looks_across:
        return [slow.momentum(rows[: n + 1], **params) for n in range(len(rows))]
    judge = getattr(slow, bound.name)
    return [
        [
            judge([row[column] for row in rows[: n + 1] if row[column] is not None], **params) if bar else slow.NOTHING
            for column, bar in enumerate(rows[n])
        ]
        for n in range(len(rows))
    ]


@settings(unhurried, max_examples=120)
@given(bound_strategies(), histories())
def test_a_strategy_answers_as_its_slow_twin_at_every_bar(bound: BoundStrategy, bars: Bars) -> None:
    verdicts = judge_history(bound, bars)

    expected = slow_answers(bound, bars)
    if not bound.params.allow_short:
        expected = [[(long, min(short, 0)) for long, short in row] for row in expected]
    answered = [
        [(int(long), int(short)) for long, short in zip(*row, strict=True)]
        for row in zip(verdicts.long, verdicts.short, strict=True)
    ]
    assert answered == expected


@settings(unhurried)
@given(bound_strategies(), histories(), st.data())
def test_later_bars_never_change_what_was_wanted_before(bound: BoundStrategy, bars: Bars, data: st.DataObject) -> None:
    known = data.draw(st.integers(0, len(bars.close)))

    then, now = judge_history(bound, bars.head(known)), judge_history(bound, bars)

    assert np.array_equal(then.long, now.long[:known])
    assert np.array_equal(then.short, now.short[:known])
    assert np.allclose(then.strength, now.strength[:known])
    for name, values in then.facts.items():
        assert np.allclose(values, now.facts[name][:known], equal_nan=True)


@settings(unhurried)
@given(bound_strategies(), histories())
def test_the_engine_which_remembers_little_wants_what_the_whole_history_says(bound: BoundStrategy, bars: Bars) -> None:
    assert first_difference(bound, bars) is None


@settings(unhurried)
@given(bound_strategies(), histories(), st.sampled_from([None, "long", "short"]))
def test_what_is_wanted_fits_what_is_held_and_is_said_in_words(
    bound: BoundStrategy, bars: Bars, held: str | None
) -> None:
    newest = judge_newest(bound, bars)

    for symbol in bars.symbols:
        verdict = newest.verdict(symbol, held)
        if verdict is None:
            continue
        assert (verdict.move in ("exit_long", "exit_short")) == (held is not None)
        assert held is None or verdict.move == f"exit_{held}"
        assert verdict.move != "enter_short" or bound.params.allow_short
        assert 0 <= verdict.strength <= 1
        assert verdict.reason and "{" not in verdict.reason and "nan" not in verdict.reason


@settings(unhurried)
@given(bound_strategies(), histories())
def test_a_symbol_is_judged_alike_whatever_others_are_beside_it(bound: BoundStrategy, bars: Bars) -> None:
    if bound.strategy.looks_across:
        return
    together = judge_newest(bound, bars).signs

    alone = [judge_newest(bound, bars.select([symbol])).signs for symbol in bars.symbols]

    # A symbol without any bar leaves no row behind when it is alone.
    assert [signs or [(0, 0)] for signs in alone] == [[signs] for signs in together]


@settings(unhurried, max_examples=15)
@given(histories())
def test_bars_survive_the_way_through_data_frames(bars: Bars) -> None:
    frames = {}
    for column, symbol in enumerate(bars.symbols):
        frame = bars.frame("close")[[symbol]].rename(columns={symbol: "close"})
        for name in ("open", "high", "low", "volume"):
            frame[name] = getattr(bars, name)[:, column]
        frames[symbol] = frame.dropna().rename_axis("bar_at").reset_index()

    again = Bars.from_frames(frames)

    assert again.symbols == bars.symbols
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(again, name), getattr(bars, name), equal_nan=True)
    assert again.times.equals(bars.times)


def test_a_look_into_the_future_is_found() -> None:
    closes = np.array([[5.0, 6, 5, 6, 5, 6, 5, 6]]).T
    starts = START + np.arange(len(closes)) * np.timedelta64(1, "D")
    bars = Bars.aligned({"AAPL": (starts, np.repeat(closes, 5, axis=1))})

    def tomorrow(bars: Bars, _: Params) -> Verdicts:
        rises = np.append(np.diff(bars.close, axis=0), [[0.0]], axis=0) > 0
        return Verdicts(long=signs(rises, ~rises), short=np.zeros_like(rises), strength=np.ones_like(bars.close))

    prophet = Strategy(name="prophet", about="Knows.", params=Params, judge=tomorrow, bars_needed=lambda _: 2)

    assert first_difference(StrategyRegistry([prophet]).bind("prophet", {}), bars) == 0


@pytest.mark.parametrize("strategy", list(REGISTRY), ids=lambda strategy: strategy.name)
def test_nothing_is_wanted_of_no_bars_at_all(strategy: Any) -> None:
    params = {"ma_crossover": {"fast": 1, "slow": 2}, "rsi_reversion": {"period": 2, "low": 30, "high": 70},
              "donchian_breakout": {"entry_window": 2, "exit_window": 1},
              "cross_sectional_momentum": {"lookback": 1, "top": 1}}[strategy.name]  # fmt: skip
    bound = REGISTRY.bind(strategy.name, params)

    assert judge_newest(bound, Bars.aligned({})).signs == []
    assert judge_history(bound, Bars.aligned({})).long.size == 0
