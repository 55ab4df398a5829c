"""Splits and dividends as announcements: what happened to a share, and when it is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from local.exchange.market.tape import Tape

# The source says on which day a share goes ex, not when that was announced: two weeks are assumed.
ANNOUNCED_AHEAD = timedelta(days=14)
_NAMESPACE = UUID("3a0a5dcb-3b0e-4d0c-8a0e-6f1f6b6d7a55")


@dataclass(frozen=True, slots=True)
class Action:
    """A forward split of `ratio` new shares for one, or a dividend of `cash` dollars a share."""

    symbol: str
    ex_date: date
    ratio: int = 1
    cash: Decimal = Decimal(0)

    @property
    def is_split(self) -> bool:
        return self.ratio != 1

    @property
    def id(self) -> str:
        return str(uuid5(_NAMESPACE, f"{self.symbol}/{self.ex_date}/{'split' if self.is_split else 'dividend'}"))


def known_actions(tape: Tape, today: date) -> list[Action]:
    """Return what is announced by `today`, by ex-date."""
    found = [action for action in _all(tape) if action.ex_date <= today + ANNOUNCED_AHEAD]
    return sorted(found, key=lambda action: (action.ex_date, action.symbol, action.is_split))


def _all(tape: Tape) -> Iterator[Action]:
    for symbol, splits in tape.actions.splits.items():
        yield from (Action(symbol, day, ratio=ratio) for day, ratio in splits.items())
    for symbol, dividends in tape.actions.dividends.items():
        yield from (Action(symbol, day, cash=cash) for day, cash in dividends.items())
