"""Signal exits: what strategies want to leave, until it is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from engine.domain.book import Snapshot
from engine.domain.broker_types import MarketTime
from engine.service.bar_history import BarHistory
from engine.service.exit_desk import Exit
from engine.service.judgement import Wish

AGAIN_AFTER: Final = timedelta(seconds=15)  # twice as long after each try
AGAIN_AFTER_MAX: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A strategy's wish to leave a trade, and when it is asked for again (market time)."""

    trade_id: str
    wish: Wish
    wait: timedelta | None = None
    next_at: datetime | None = None

    @property
    def exit(self) -> Exit:
        return Exit(trade_id=self.trade_id, exit_reason="signal", reason=self.wish.verdict.reason)

    def is_due(self, now: datetime) -> bool:
        return self.next_at is None or now >= self.next_at

    def asked(self, now: datetime) -> _Leaving:
        wait = AGAIN_AFTER if self.wait is None else min(2 * self.wait, AGAIN_AFTER_MAX)
        return replace(self, wait=wait, next_at=now + wait)


class SignalExits:
    """What an exit comes to is seen later: the broker may refuse it, or it may expire in a halt.

    A wish lasts until its trade is closed or its strategy has judged a newer bar. It is asked for less and less
    often, since each try takes the position's resting stop away for a moment.
    """

    def __init__(self, history: BarHistory) -> None:
        self._history = history
        self._leaving: dict[str, _Leaving] = {}  # by trade

    def due(self, wishes: Iterable[Wish], snapshot: Snapshot, market: MarketTime) -> list[Exit]:
        """Return the exits to ask for: those that are wished for now, and those that came to nothing."""
        new = {leaving.trade_id: leaving for wish in wishes for leaving in _leaving(wish, snapshot)}
        trades = snapshot.trades_by_id
        wished = (self._leaving | new).values()
        self._leaving = {x.trade_id: x for x in wished if x.trade_id in trades and self._is_newest(x.wish)}
        due = [x for x in self._leaving.values() if x.is_due(market.now) and not trades[x.trade_id].exit_working]
        self._leaving |= {leaving.trade_id: leaving.asked(market.now) for leaving in due}
        return [leaving.exit for leaving in due]

    def _is_newest(self, wish: Wish) -> bool:
        bar = self._history.last_bar(wish.symbol, wish.profile.timeframe)
        return bar is None or bar.at == wish.bar.at


def _leaving(wish: Wish, snapshot: Snapshot) -> list[_Leaving]:
    return [
        _Leaving(trade.trade_id, wish)
        for trade in snapshot.held[wish.profile.id, wish.symbol]
        if trade.side == wish.position_side
    ]
