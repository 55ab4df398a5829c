"""Judgement: which new bars there are, and what the strategies want of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

import structlog

from engine.domain.book import OpenTrade, Profile, Snapshot
from engine.domain.broker_types import Bar, Side
from engine.domain.errors import ConfigError, StrategyFailed
from engine.domain.layers import Ruling
from engine.domain.requests import Signal
from engine.domain.strategies import BoundStrategy, Move, StrategyRegistry, Verdict, judge_newest
from engine.service.bar_history import BarHistory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a profile's strategy wants of a symbol at its newest bar."""

    profile: Profile
    symbol: str
    bar: Bar
    verdict: Verdict

    @property
    def is_entry(self) -> bool:
        return self.verdict.move in (Move.ENTER_LONG, Move.ENTER_SHORT)

    @property
    def position_side(self) -> str:
        return "long" if self.verdict.move in (Move.ENTER_LONG, Move.EXIT_LONG) else "short"

    @property
    def entry_side(self) -> Side:
        return Side.BUY if self.position_side == "long" else Side.SELL

    def signal(self, rulings: Sequence[Ruling] = ()) -> Signal:
        """Return the signal, with what each layer said of it."""
        detail: dict[str, Any] = {
            "reason": self.verdict.reason,
            "close": str(self.bar.close),
            "facts": {name: _plain(value) for name, value in self.verdict.facts.items()},
            "layers": [ruling.to_json() for ruling in rulings],
        }
        return Signal(
            strategy=self.profile.strategy,
            action="enter" if self.is_entry else "exit",
            strength=self.verdict.strength,
            bar_at=self.bar.at,
            reason=self.verdict.reason,
            detail=detail,
        )


@dataclass(frozen=True, slots=True)
class _Due:
    """A profile with those of its symbols that have a bar which was not judged yet."""

    profile: Profile
    bars: Mapping[str, Bar]


# Profiles that differ in nothing a strategy looks at are judged together.
_Group = tuple[BoundStrategy, str, tuple[str, ...] | None]


class Judgement:
    """Each bar of each symbol is judged once for each profile."""

    def __init__(self, history: BarHistory, strategies: StrategyRegistry) -> None:
        self._history = history
        self._strategies = strategies
        self._judged: dict[tuple[str, str], datetime] = {}
        self._bound: dict[str, tuple[str, Mapping[str, Any], BoundStrategy | None]] = {}

    def wishes(self, profiles: Iterable[Profile], snapshot: Snapshot) -> list[Wish]:
        """Judge what is new; bars of which nothing is wanted are remembered at once, the others by `remember`."""
        groups: dict[_Group, list[_Due]] = defaultdict(list)
        for profile in profiles:
            bound = self._bind(profile)
            if bound is not None and (due := self._due(profile, bound)) is not None:
                universe = profile.symbols if bound.strategy.looks_across else None
                groups[bound, profile.timeframe, universe].append(due)
        return [wish for group, members in groups.items() for wish in self._judge(group, members, snapshot)]

    def remember(self, wishes: Iterable[Wish]) -> None:
        """Note that wishes have been dealt with, so that their bars are not judged again."""
        self._judged.update({(wish.profile.id, wish.symbol): wish.bar.at for wish in wishes})

    def _due(self, profile: Profile, bound: BoundStrategy) -> _Due | None:
        if bound.strategy.looks_across and not self._history.is_settled(profile.timeframe):
            return None  # some of the symbols to compare may still get their bars
        bars = {}
        for symbol in profile.symbols:
            bar = self._history.last_bar(symbol, profile.timeframe)
            if bar is not None and self._judged.get((profile.id, symbol)) != bar.at:
                bars[symbol] = bar
        return _Due(profile, bars) if bars else None

    def _bind(self, profile: Profile) -> BoundStrategy | None:
        """Bind a profile's strategy, again only when it was changed; what does not fit is said once."""
        name, params, bound = self._bound.get(profile.id, ("", {}, None))
        if (name, params) != (profile.strategy, profile.params):
            try:
                bound = self._strategies.bind(profile.strategy, profile.params)
            except ConfigError as error:
                log.error("profile cannot be traded", profile=profile.name, error=str(error))
                bound = None
            self._bound[profile.id] = (profile.strategy, profile.params, bound)
        return bound

    def _judge(self, group: _Group, members: Sequence[_Due], snapshot: Snapshot) -> list[Wish]:
        bound, timeframe, universe = group
        history = self._history.bars(timeframe)
        wanted = universe or dict.fromkeys(symbol for due in members for symbol in due.bars)
        known = set(history.symbols)
        wishes: list[Wish] = []
        try:
            newest = judge_newest(bound, history.select([symbol for symbol in wanted if symbol in known]))
            for due in members:
                for symbol, bar in due.bars.items():
                    verdicts = [newest.verdict(symbol, side) for side in _held_sides(snapshot, due.profile.id, symbol)]
                    found = [Wish(due.profile, symbol, bar, verdict) for verdict in verdicts if verdict is not None]
                    wishes += found
                    if not found:
                        self._judged[due.profile.id, symbol] = bar.at
        except StrategyFailed as error:
            names = [due.profile.name for due in members]
            log.error("strategy failed, its profiles stand still", profiles=names, error=str(error))
            self._judged.update(
                {(due.profile.id, symbol): bar.at for due in members for symbol, bar in due.bars.items()}
            )
            return []
        return wishes


def _held_sides(snapshot: Snapshot, profile_id: str, symbol: str) -> list[str] | list[None]:
    held: list[OpenTrade] = snapshot.held.get((profile_id, symbol), [])
    return sorted({trade.side for trade in held}) or [None]


def _plain(value: float) -> float | None:
    """Return a figure as JSON can carry it."""
    return round(value, 6) if isfinite(value) else None
