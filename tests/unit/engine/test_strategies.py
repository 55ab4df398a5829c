"""The strategies on small histories that a person can check, and what is said of parameters that do not fit."""

from typing import Any

import numpy as np
import pytest

from engine.domain.errors import ConfigError, StrategyFailed
from engine.domain.strategies import (
    BARS_MAX,
    Bars,
    Move,
    Params,
    Strategy,
    StrategyRegistry,
    Verdict,
    Verdicts,
    judge_newest,
    signs,
)

REGISTRY = StrategyRegistry()
CROSSOVER = {"fast": 2, "slow": 3}
BREAKOUT = {"entry_window": 3, "exit_window": 2}
RSI = {"period": 2, "low": 30, "high": 70}


def bars(**closes: tuple[float, ...]) -> Bars:
    """Return daily bars that end on the same day; high, low and close are the same."""
    columns = {}
    for symbol, values in closes.items():
        first = np.datetime64("2026-03-01", "us") - len(values) * np.timedelta64(1, "D")
        starts = first + np.arange(len(values)) * np.timedelta64(1, "D")
        columns[symbol] = (starts, np.repeat(np.array(values, float)[:, np.newaxis], 5, axis=1))
    return Bars.aligned(columns)


def verdict(name: str, params: dict[str, Any], *closes: float, held: str | None = None) -> Verdict | None:
    return judge_newest(REGISTRY.bind(name, params), bars(AAPL=closes)).verdict("AAPL", held)


class TestMaCrossover:
    def test_enters_when_the_fast_average_crosses_above(self) -> None:
        found = verdict("ma_crossover", CROSSOVER, 10, 10, 10, 10, 13)

        assert found is not None and found.move is Move.ENTER_LONG
        assert found.reason == "average of 2 (11.50) crossed above average of 3 (11.00)"

    def test_leaves_what_is_held_when_the_fast_average_crosses_below(self) -> None:
        found = verdict("ma_crossover", CROSSOVER, 10, 11, 12, 13, 7, held="long")

        assert found is not None and found.move is Move.EXIT_LONG

    @pytest.mark.parametrize("held", [None, "long"])
    def test_wants_nothing_when_it_stays_above_without_crossing(self, held: str | None) -> None:
        assert verdict("ma_crossover", CROSSOVER, 10, 11, 12, 13, 14, held=held) is None

    def test_wants_nothing_when_the_price_is_flat(self) -> None:
        params = {"fast": 7, "slow": 20}
        assert all(verdict("ma_crossover", params, *[0.1] * n) is None for n in range(21, 60))

    def test_wants_nothing_when_there_are_too_few_bars(self) -> None:
        assert verdict("ma_crossover", CROSSOVER, 10, 11, 12) is None


class TestRsiReversion:
    @pytest.mark.parametrize(
        ("prices", "held", "move"),
        [
            ((10, 9, 8), None, Move.ENTER_LONG),  # only losses: 0
            ((10, 11, 12), "long", Move.EXIT_LONG),  # only gains: 100
            ((10, 11, 10), "long", None),  # as much up as down: 50
            ((10, 10, 10), None, None),  # nothing moved: 50
            ((10, 13, 6), None, None),  # 30, at the level and not below it
            ((10, 17, 14), "long", None),  # 70
            ((10, 9), None, None),  # too few bars
        ],
    )
    def test_acts_on_the_edges_only(self, prices: tuple[float, ...], held: str | None, move: Move | None) -> None:
        found = verdict("rsi_reversion", RSI, *prices, held=held)

        assert (found.move if found else None) is move

    def test_strength_grows_when_the_index_is_further_below(self) -> None:
        slightly = verdict("rsi_reversion", RSI, 10, 9, 9.3)
        deeply = verdict("rsi_reversion", RSI, 10, 9, 8)

        assert slightly is not None and deeply is not None
        assert 0 <= slightly.strength < deeply.strength == 1


class TestDonchianBreakout:
    @pytest.mark.parametrize(
        ("prices", "held", "move"),
        [
            ((9, 10, 9, 10.01), None, Move.ENTER_LONG),
            ((9, 10, 9, 10), None, None),  # reaches the top without leaving the range
            ((9, 10, 11, 9.9), "long", Move.EXIT_LONG),
            ((9, 10, 11, 10), "long", None),
            ((10, 9, 10.01), None, None),  # too few bars
        ],
    )
    def test_acts_outside_the_range_of_the_bars_before(
        self, prices: tuple[float, ...], held: str | None, move: Move | None
    ) -> None:
        found = verdict("donchian_breakout", BREAKOUT, *prices, held=held)

        assert (found.move if found else None) is move


class TestCrossSectionalMomentum:
    UP, FLAT, DOWN = (10, 11, 12), (10, 10, 10), (10, 9, 8)

    def moves(self, held: str | None = None, **params: Any) -> dict[str, Move | None]:
        bound = REGISTRY.bind("cross_sectional_momentum", {"lookback": 2, "top": 1} | params)
        newest = judge_newest(bound, bars(UP=self.UP, FLAT=self.FLAT, DOWN=self.DOWN))
        found = {symbol: newest.verdict(symbol, held) for symbol in ("UP", "FLAT", "DOWN")}
        return {symbol: one.move if one else None for symbol, one in found.items()}

    def test_enters_the_first_and_nothing_else(self) -> None:
        assert self.moves() == {"UP": Move.ENTER_LONG, "FLAT": None, "DOWN": None}

    def test_leaves_what_is_no_longer_among_the_first(self) -> None:
        assert self.moves(held="long") == {"UP": None, "FLAT": Move.EXIT_LONG, "DOWN": Move.EXIT_LONG}

    def test_sells_the_last_short_when_it_may(self) -> None:
        assert self.moves(allow_short=True)["DOWN"] is Move.ENTER_SHORT

    def test_enters_nothing_that_has_fallen_when_everything_falls(self) -> None:
        bound = REGISTRY.bind("cross_sectional_momentum", {"lookback": 2, "top": 1})
        newest = judge_newest(bound, bars(BAD=self.DOWN, WORSE=(10, 8, 6)))

        assert newest.verdict("BAD", None) is None

    def test_wants_nothing_of_one_symbol_alone(self) -> None:
        assert verdict("cross_sectional_momentum", {"lookback": 2, "top": 1}, *self.UP) is None


class TestShortPositions:
    def test_none_is_opened_unless_allowed(self) -> None:
        assert verdict("rsi_reversion", RSI, 10, 11, 12) is None

    def test_one_is_opened_when_allowed(self) -> None:
        found = verdict("rsi_reversion", RSI | {"allow_short": True}, 10, 11, 12)

        assert found is not None and found.move is Move.ENTER_SHORT
        assert found.reason == "RSI 100.0 is above 70"

    def test_one_that_is_held_is_closed_though_none_may_be_opened_any_more(self) -> None:
        found = verdict("rsi_reversion", RSI, 10, 9, 8, held="short")

        assert found is not None and found.move is Move.EXIT_SHORT


def test_a_gap_in_one_symbol_is_no_gap_in_its_own_bars() -> None:
    history = bars(AAPL=(10, 9, 8), IBM=(5, 5, 5))
    history.close[1, 0] = np.nan

    newest = judge_newest(REGISTRY.bind("rsi_reversion", {"period": 2, "low": 98, "high": 99}), history)

    assert newest.signs == [(0, 0), (1, -1)]  # two bars are too few for the one, the other has its three


def test_entering_wins_where_a_strategy_says_both() -> None:
    yes, no = np.array([[True]]), np.array([[False]])

    assert [int(signs(up, down)[0, 0]) for up in (yes, no) for down in (yes, no)] == [1, 1, -1, 0]


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("hope", {}, "'hope' is unknown; use one of ma_crossover"),
        ("ma_crossover", {"fast": 20, "slow": 5}, "fast (20) must be smaller than slow (5)"),
        ("ma_crossover", {"fast": 5}, "slow: is missing"),
        ("ma_crossover", {"fast": "x", "slow": 5}, "fast: should be a valid integer"),
        ("ma_crossover", {"fast": 0, "slow": 5}, "fast: should be greater than or equal to 1, is 0"),
        ("ma_crossover", {"fast": 5, "slow": BARS_MAX}, "slow: should be less than or equal to 399, is 400"),
        ("rsi_reversion", {"period": 14, "low": 70, "high": 30}, "low (70) must be smaller than high (30)"),
        ("rsi_reversion", {"period": 0, "low": 30, "high": 70}, "period: should be greater than or equal to 2"),
        ("rsi_reversion", {"period": 14, "low": 30, "high": "NaN"}, "high: "),
        ("donchian_breakout", {"entry_window": 20}, "exit_window: is missing"),
        ("cross_sectional_momentum", {"lookback": 20, "top": 3, "keep": 2}, "keep (2) must not be smaller than top"),
        ("cross_sectional_momentum", {"lookback": 399, "skip": 9, "top": 3}, "must stay below 400 bars"),
        ("ma_crossover", {"fast": 5, "slow": 9, "allow_short": "perhaps"}, "allow_short: should be a valid boolean"),
    ],
)
def test_parameters_that_do_not_fit_are_named_with_what_is_wrong(name: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        REGISTRY.bind(name, params)

    assert says in str(refusal.value)


def a_strategy(judge: Any, **changes: Any) -> Strategy[Params]:
    given = {"name": "own", "about": "Own.", "params": Params, "judge": judge, "bars_needed": lambda _: 1} | changes
    return Strategy(**given)


def test_two_strategies_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="Two strategies are named 'ma_crossover'"):
        StrategyRegistry([a_strategy(None, name="ma_crossover")])


def test_more_bars_than_the_engine_remembers_are_refused() -> None:
    own = a_strategy(None, bars_needed=lambda _: BARS_MAX + 1)

    with pytest.raises(ConfigError, match=f"asks for {BARS_MAX + 1} bars"):
        StrategyRegistry([own]).bind("own", {})


def one_by_one(bars: Bars, _: Params) -> Verdicts:
    return Verdicts(long=np.ones((1, 1), np.int8), short=np.ones((1, 1), np.int8), strength=np.ones((1, 1)))


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (a_strategy(lambda bars, _: bars.close / bars.nothing), "AttributeError"),
        (a_strategy(lambda *_: None), "AttributeError"),
        (a_strategy(one_by_one), r"must return matrices of the shape of its bars \(1, 2\), not \{\(1, 1\)\}"),
    ],
)
def test_a_faulty_strategy_is_told_apart_from_a_fault_of_the_engine(own: Strategy[Params], says: str) -> None:
    bound = StrategyRegistry([own]).bind("own", {})

    with pytest.raises(StrategyFailed, match=says):
        judge_newest(bound, bars(AAPL=(10, 11), IBM=(10, 11)))


def test_a_reason_that_quotes_what_is_not_there_is_a_fault_of_the_strategy() -> None:
    own = a_strategy(one_by_one, reasons={Move.ENTER_LONG: "because of {fate}"})
    newest = judge_newest(StrategyRegistry([own]).bind("own", {}), bars(AAPL=(10,)))

    with pytest.raises(StrategyFailed, match="fate"):
        newest.verdict("AAPL", None)
