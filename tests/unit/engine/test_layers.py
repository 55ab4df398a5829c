"""The layers: what they let pass, what they say, and what they look at."""

from typing import Any

import numpy as np
import pytest

from engine.domain.layers import CompetitiveLayer, Layer, MacroLayer, daily_symbols, switched_on
from engine.domain.risk_config import PortfolioRiskConfig
from engine.domain.strategies import Bars
from tests.unit.engine.test_strategies import bars

SECTORS = {"AAPL": "technology", "MSFT": "technology", "ORCL": "technology", "XOM": "energy"}
RISING, FALLING, FLAT = (10, 11, 12, 13), (13, 12, 11, 10), (10, 10, 10, 10)


def config(**layers: Any) -> PortfolioRiskConfig:
    return PortfolioRiskConfig.from_db_json({"signal_layers": layers, "sector_exposure": {"sectors": SECTORS}})


def passes(layer: Layer, symbol: str = "AAPL") -> tuple[bool, bool]:
    """Tell whether a long and a short entry pass."""
    return layer.rule(symbol, "long").passed, layer.rule(symbol, "short").passed


class TestMacro:
    def test_long_entries_pass_above_the_average_and_short_ones_below(self) -> None:
        assert passes(MacroLayer(bars(SPY=RISING), 3, index="SPY")) == (True, False)
        assert passes(MacroLayer(bars(SPY=FALLING), 3, index="SPY")) == (False, True)

    def test_both_pass_at_the_average(self) -> None:
        assert passes(MacroLayer(bars(SPY=FLAT), 3, index="SPY")) == (True, True)

    def test_it_says_where_the_index_is(self) -> None:
        ruling = MacroLayer(bars(SPY=FALLING), 3, index="SPY").rule("AAPL", "long")

        assert ruling.reason == "SPY is 9.1% below its average of 3 days: no new long positions."
        assert ruling.to_json()["facts"] == {"index": "SPY", "window_bars": 3, "above_pct": -0.090909091}

    def test_nothing_passes_while_the_history_is_too_short(self) -> None:
        layer = MacroLayer(bars(SPY=RISING), 5, index="SPY")

        assert passes(layer) == (False, False)
        assert layer.rule("AAPL", "long").reason == (
            "Only 4 of 5 daily bars of SPY are known: no new positions until they are. "
            "Check that the broker has prices of SPY."
        )

    def test_nothing_passes_when_the_index_has_no_prices_at_all(self) -> None:
        assert passes(MacroLayer(Bars.aligned({}), 5, index="HOPE")) == (False, False)

    def test_the_average_of_all_symbols_is_the_index_when_none_is_named(self) -> None:
        mostly_up = bars(AAPL=RISING, IBM=RISING, XOM=FALLING)

        layer = MacroLayer(mostly_up, 3, index="*")

        assert passes(layer) == (True, False)
        assert layer.rule("AAPL", "long").reason.startswith("The average of 3 symbols is")

    def test_a_symbol_without_a_history_does_not_count_in_the_average(self) -> None:
        with_newcomer = bars(AAPL=RISING, IBM=RISING, NEW=(5,))

        alone = MacroLayer(bars(AAPL=RISING, IBM=RISING), 3, index="*").rule("AAPL", "long")
        assert MacroLayer(with_newcomer, 3, index="*").rule("AAPL", "long").facts["above_pct"] == pytest.approx(
            alone.facts["above_pct"]
        )


class TestCompetitive:
    def layer(self, **closes: tuple[float, ...]) -> CompetitiveLayer:
        return CompetitiveLayer(bars(**closes), 3, SECTORS)

    def test_the_stronger_passes_long_and_the_weaker_short(self) -> None:
        layer = self.layer(AAPL=RISING, MSFT=FLAT, ORCL=FALLING)

        assert passes(layer, "AAPL") == (True, False)
        assert passes(layer, "ORCL") == (False, True)

    def test_it_says_how_far_ahead_or_behind(self) -> None:
        ruling = self.layer(AAPL=FLAT, MSFT=RISING, ORCL=RISING).rule("AAPL", "long")

        assert ruling.reason == ("AAPL is 30.0% behind the median of its 2 peers over 3 days: no new long position.")
        assert ruling.facts["peers"] == ["MSFT", "ORCL"]

    def test_peers_are_those_of_the_same_sector(self) -> None:
        layer = self.layer(AAPL=FLAT, MSFT=FALLING, XOM=RISING)

        assert passes(layer, "AAPL") == (True, False)

    def test_what_is_alone_in_its_sector_is_compared_with_all(self) -> None:
        layer = self.layer(AAPL=FLAT, MSFT=FLAT, XOM=FALLING)

        assert passes(layer, "XOM") == (False, True)

    def test_nothing_passes_whose_own_history_is_too_short(self) -> None:
        layer = self.layer(AAPL=(10, 11), MSFT=RISING)

        assert passes(layer, "AAPL") == passes(layer, "MSFT") == (False, False)
        assert "lack daily bars over 3 days" in layer.rule("AAPL", "long").reason

    def test_what_has_no_peers_passes(self) -> None:
        assert passes(self.layer(AAPL=FALLING)) == (True, True)


class TestSwitches:
    def test_no_layer_is_on_by_default(self) -> None:
        assert switched_on(PortfolioRiskConfig(), bars(AAPL=RISING), ["AAPL"]) == []
        assert daily_symbols(PortfolioRiskConfig(), ["AAPL"]) == set()

    def test_what_is_switched_on_is_asked(self) -> None:
        both = config(macro=True, macro_window_bars=3, competitive=True, competitive_window_bars=2)

        layers = switched_on(both, bars(AAPL=RISING, MSFT=FALLING), ["AAPL", "MSFT"])

        assert [layer.rule("AAPL", "long").layer for layer in layers] == ["macro", "competitive"]

    def test_the_bars_of_the_index_and_of_the_peers_are_fetched(self) -> None:
        assert daily_symbols(config(macro=True, macro_index="SPY"), ["AAPL"]) == {"SPY"}
        assert daily_symbols(config(macro=True), ["AAPL", "IBM"]) == {"AAPL", "IBM"}
        assert daily_symbols(config(competitive=True), ["AAPL"]) == {"AAPL", "MSFT", "ORCL"}

    def test_the_index_is_no_peer(self) -> None:
        both = config(macro=True, macro_index="SPY", macro_window_bars=3, competitive=True, competitive_window_bars=2)

        _, competitive = switched_on(both, bars(AAPL=RISING, MSFT=FLAT, SPY=RISING), ["AAPL"])

        assert competitive.rule("AAPL", "long").facts["peers"] == ["MSFT"]


def test_what_is_at_hand_is_judged_and_nothing_older_changes_it() -> None:
    long_ago = np.linspace(500, 1, 50).tolist()

    recent = MacroLayer(bars(SPY=RISING), 3, index="SPY").rule("AAPL", "long")
    whole = MacroLayer(bars(SPY=(*long_ago, *RISING)), 3, index="SPY").rule("AAPL", "long")

    assert whole == recent
