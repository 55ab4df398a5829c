"""The layers against slow ones, over whole histories; what is known of them never changes later."""

from itertools import pairwise
from statistics import mean, median

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.domain.layers import CompetitiveLayer, MacroLayer, lead_over_peers, regime
from engine.domain.strategies import Bars
from tests.property.engine.test_strategy_properties import histories

unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WINDOWS = st.integers(2, 8)
SECTORS = {"S0": "a", "S1": "a", "S2": "b"}


def slow_regime(closes: list[list[float]], window: int) -> float | None:
    """Return the distance of a basket from its average at the last row."""
    if len(closes) < window:
        return None
    levels = [1.0]
    for earlier, later in pairwise(closes):
        moves = [b / a - 1 for a, b in zip(earlier, later, strict=True) if a == a and b == b]
        levels.append(levels[-1] * (1 + (mean(moves) if moves else 0.0)))
    return levels[-1] / mean(levels[-window:]) - 1


def slow_lead(closes: list[list[float]], window: int, symbol: int) -> float | None:
    """Return a symbol's change less its peers' median at the last row."""
    if len(closes) < window + 1:
        return None
    changes = [b / a - 1 for a, b in zip(closes[-1 - window], closes[-1], strict=True)]
    sector = SECTORS.get(f"S{symbol}", "other")
    others = [n for n in range(len(changes)) if n != symbol]
    peers = [n for n in others if SECTORS.get(f"S{n}", "other") == sector] or others
    known = [changes[n] for n in peers if changes[n] == changes[n]]
    return changes[symbol] - median(known) if known and changes[symbol] == changes[symbol] else None


@unhurried
@given(histories().filter(lambda bars: len(bars.symbols) > 1), WINDOWS)
def test_the_regime_of_a_basket_equals_its_definition_at_every_bar(bars: Bars, window: int) -> None:
    found = regime(bars, window)

    for row in range(len(bars.close)):
        expected = slow_regime(bars.close[: row + 1].tolist(), window)
        assert np.isclose(found[row], np.nan if expected is None else expected, atol=1e-6, equal_nan=True)


@unhurried
@given(histories(), WINDOWS)
def test_the_lead_over_peers_equals_its_definition_at_every_bar(bars: Bars, window: int) -> None:
    found = lead_over_peers(bars, window, SECTORS)

    for row in range(len(bars.close)):
        for symbol in range(len(bars.symbols)):
            expected = slow_lead(bars.close[: row + 1].tolist(), window, symbol)
            assert np.isclose(found[row, symbol], np.nan if expected is None else expected, atol=1e-6, equal_nan=True)


@unhurried
@given(histories(), WINDOWS, st.sampled_from(["long", "short"]))
def test_a_layer_rules_by_the_newest_bar_as_the_whole_history_does(bars: Bars, window: int, side: str) -> None:
    sign = 1 if side == "long" else -1
    lead = lead_over_peers(bars, window, SECTORS)
    competitive = CompetitiveLayer(bars, window, SECTORS)
    for column, symbol in enumerate(bars.symbols):
        if len(bars.symbols) > 1 and len(lead):
            assert competitive.rule(symbol, side).passed == bool(sign * lead[-1, column] >= 0)

    above = regime(bars.packed() if len(bars.symbols) == 1 else bars, window)
    assert MacroLayer(bars, window, index="*").rule("S0", side).passed == bool(len(above) and sign * above[-1] >= 0)
