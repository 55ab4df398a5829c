"""Signal layers: filters that entries pass through between strategy and gate, switched in the risk configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.domain.layers.competitive import CompetitiveLayer, lead_over_peers
from engine.domain.layers.layer import Layer, Ruling
from engine.domain.layers.macro import MacroLayer, regime
from engine.domain.risk_config import ALL_TRADED, PortfolioRiskConfig
from engine.domain.strategies.bars import Bars

__all__ = [
    "CompetitiveLayer",
    "Layer",
    "MacroLayer",
    "Ruling",
    "daily_symbols",
    "lead_over_peers",
    "regime",
    "switched_on",
]


def daily_symbols(config: PortfolioRiskConfig, traded: Iterable[str]) -> set[str]:
    """Return the symbols whose daily bars the layers that are on look at.

    Parameters
    ----------
    traded : the symbols of all active profiles
    """
    settings, symbols = config.signal_layers, set(traded)
    index = _index_symbols(config, symbols) if settings.macro else set()
    return index | (_compared_symbols(config, symbols) if settings.competitive else set())


def switched_on(config: PortfolioRiskConfig, daily: Bars, traded: Iterable[str]) -> Sequence[Layer]:
    """Return the layers that are on, each looking at the newest of the daily bars."""
    settings, symbols, known = config.signal_layers, set(traded), set(daily.symbols)
    layers: list[Layer] = []
    if settings.macro:
        index = daily.select(sorted(known & _index_symbols(config, symbols)))
        layers.append(MacroLayer(index, settings.macro_window_bars, index=settings.macro_index))
    if settings.competitive:
        compared = daily.select(sorted(known & _compared_symbols(config, symbols)))
        window_bars, sectors = settings.competitive_window_bars, config.sector_exposure.sectors
        layers.append(CompetitiveLayer(compared, window_bars, sectors))
    return layers


def _index_symbols(config: PortfolioRiskConfig, traded: set[str]) -> set[str]:
    index = config.signal_layers.macro_index
    return traded if index == ALL_TRADED else {index}


def _compared_symbols(config: PortfolioRiskConfig, traded: set[str]) -> set[str]:
    """Return what is traded, and what the configuration names beside it in the same sectors."""
    sectors = config.sector_exposure.sectors
    of_interest = {sectors[symbol] for symbol in traded if symbol in sectors}
    return traded | {symbol for symbol, sector in sectors.items() if sector in of_interest}
