"""The competitive layer: no long position in what is weaker than its peers, no short one in what is stronger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from engine.domain.indicators import NOISE_DIGITS, Matrix, change
from engine.domain.layers.layer import Ruling, wants
from engine.domain.strategies.bars import Bars

NAME: Final = "competitive"
OTHER: Final = "other"  # the sector of a symbol that has none


def peers_of(symbol: str, symbols: Sequence[str], sectors: Mapping[str, str]) -> list[str]:
    """Return the other symbols of its sector; all others where it is alone in its sector."""
    others = [other for other in symbols if other != symbol]
    sector = sectors.get(symbol, OTHER)
    return [other for other in others if sectors.get(other, OTHER) == sector] or others


def lead_over_peers(daily: Bars, window_bars: int, sectors: Mapping[str, str]) -> Matrix:
    """Return each symbol's change over the window less the median change of its peers.

    Returns
    -------
    Matrix (time x symbols); 0.02 means 2 points ahead; NaN where its own or every peer's change is not known
    """
    changes = change(daily.close, window_bars)
    lead = np.full_like(changes, np.nan)
    for column, symbol in enumerate(daily.symbols):
        peers = [daily.symbols.index(peer) for peer in peers_of(symbol, daily.symbols, sectors)]
        known = ~np.isnan(changes[:, peers]).all(axis=1) if peers else np.zeros(len(changes), bool)
        lead[known, column] = changes[known, column] - np.nanmedian(changes[known][:, peers], axis=1)
    return lead.round(NOISE_DIGITS)


class CompetitiveLayer:
    """Judges by the newest daily bars."""

    def __init__(self, daily: Bars, window_bars: int, sectors: Mapping[str, str]) -> None:
        self._window_bars = window_bars
        self._symbols = daily.symbols
        self._sectors = sectors
        newest = lead_over_peers(daily.tail(window_bars + 1), window_bars, sectors)[-1:]
        self._lead = dict(zip(daily.symbols, newest[0].tolist(), strict=True)) if len(newest) else {}

    def rule(self, symbol: str, side: str) -> Ruling:
        """Judge an entry; what cannot be compared for want of bars does not pass."""
        peers = peers_of(symbol, self._symbols, self._sectors)
        facts = {"window_bars": self._window_bars, "peers": peers}
        if not peers:
            return Ruling(NAME, True, f"{symbol} has no peers to be compared with.", facts)
        lead = self._lead.get(symbol, float("nan"))
        if np.isnan(lead):
            reason = (
                f"{symbol} or its peers lack daily bars over {self._window_bars} days: no new positions until then."
            )
            return Ruling(NAME, False, reason, facts)
        where = "ahead of" if lead >= 0 else "behind"
        state = (
            f"{symbol} is {abs(lead):.1%} {where} the median of its {len(peers)} peers over {self._window_bars} days"
        )
        passed = wants(lead, side)
        reason = f"{state}." if passed else f"{state}: no new {side} position."
        return Ruling(NAME, passed, reason, facts | {"lead_pct": lead})
