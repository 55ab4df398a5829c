"""Prices and the market's clock, as the services need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from engine.domain.broker_types import Bar, MarketTime, Quote
from engine.domain.news import Headline


class MarketData(Protocol):
    """All reads; each raises BrokerUnavailable or BrokerRefused."""

    def clock(self) -> MarketTime:
        """Return the market's time and whether it is open."""
        ...

    def bars(self, symbols: Iterable[str], timeframe: str, start: datetime) -> Sequence[Bar]:
        """Return the bars that begin at or after `start`, oldest first per symbol."""
        ...

    def quotes(self, symbols: Iterable[str]) -> Mapping[str, Quote]:
        """Return the latest quotes; symbols without one are missing."""
        ...

    def headlines(self, symbols: Iterable[str], start: datetime) -> Sequence[Headline]:
        """Return the articles about any of the symbols since `start`, each once, oldest first."""
        ...
