"""Halts: the time in which a symbol prints nothing, neither trades nor quotes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Halt:
    """One halt of one symbol, from `since` to `until` (None: it lasts); what happens at either end still prints."""

    symbol: str
    since: datetime
    until: datetime | None = None

    def silences(self, at: datetime) -> bool:
        return self.since < at and (self.until is None or at < self.until)

    def touches(self, begin: datetime, end: datetime) -> bool:
        """Tell whether some of the time between `begin` and `end` is silent."""
        return self.since < end and (self.until is None or begin < self.until)


class Halts:
    """All halts, those that are over included: the past stays silent."""

    def __init__(self, halts: Iterable[Halt] = ()) -> None:
        self._by_symbol: dict[str, list[Halt]] = {}
        for halt in halts:
            self._by_symbol.setdefault(halt.symbol, []).append(halt)

    def silencing(self, symbol: str, at: datetime) -> Halt | None:
        """Return the halt in which a symbol prints nothing at a time, if there is one."""
        return next((halt for halt in self._by_symbol.get(symbol, ()) if halt.silences(at)), None)

    def touch(self, symbol: str, begin: datetime, end: datetime) -> bool:
        """Tell whether a symbol is silent at some time between `begin` and `end`."""
        return any(halt.touches(begin, end) for halt in self._by_symbol.get(symbol, ()))

    def lasting(self, symbol: str) -> Halt | None:
        """Return the halt of a symbol that nobody has lifted yet."""
        return next((halt for halt in self._by_symbol.get(symbol, ()) if halt.until is None), None)
