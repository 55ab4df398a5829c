"""What each control cost or saved: every entry that it kept back, followed as if it had been made. Pure.

Each entry is followed by itself, without what it would have changed for others. While one would have been open, the
same profile's entries in the same symbol and direction are not counted again: its strategy would not have asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from engine.domain.price_path import Path
from engine.domain.replay import PAUSED, Fate, RecordedEntry

PAUSE, LOCKOUT, DENIAL, APPROVAL = "pause", "lockout", "denial", "approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseSpan:
    """A control that stood in the way from `since` until `until` (None: still), by the database's clock."""

    id: str
    scope: str
    scope_key: str
    since: datetime
    until: datetime | None
    words: str

    def holds(self, entry: RecordedEntry, at: datetime) -> bool:
        concerns = {
            "global": True,
            "profile": self.scope_key == entry.profile_id,
            "symbol": self.scope_key == entry.symbol,
        }
        return concerns[self.scope] and self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockoutSpan:
    """A lockout of `ticker` ("*": every symbol); None means both directions, or every profile."""

    id: str
    ticker: str
    is_long: bool | None
    profile_id: str | None
    reason: str
    since: datetime
    until: datetime
    words: str

    def holds(self, entry: RecordedEntry, at: datetime) -> bool:
        return (
            self.ticker in ("*", entry.symbol)
            and self.is_long in (None, entry.plan.is_long)
            and self.profile_id in (None, entry.profile_id)
            and self.since <= at < self.until
        )


_Span = TypeVar("_Span", PauseSpan, LockoutSpan)


@dataclass(frozen=True, slots=True)
class Cause:
    """What kept an entry back: its kind, what tells it from others of that kind, and what people call it."""

    kind: str
    key: str
    words: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What one cause did.

    `gains_usd` and `losses_usd` (0 or less): of the entries that it kept back, had they been made. `effect_usd`:
    above 0 it saved that much, below 0 it cost that much. `unknown`: entries of which nothing can be said; `repeated`:
    the ids of those that would not have been asked again.
    """

    cause: Cause
    entries: tuple[RecordedEntry, ...]
    gains_usd: Decimal
    losses_usd: Decimal
    unknown: int
    repeated: frozenset[str]

    @property
    def effect_usd(self) -> Decimal:
        return -(self.gains_usd + self.losses_usd)


def cost_of_control(
    entries: Iterable[RecordedEntry],
    paths: Mapping[str, Path],
    pauses: Sequence[PauseSpan],
    lockouts: Sequence[LockoutSpan],
) -> list[Cost]:
    """Return what each cause cost or saved, the largest effect first.

    Parameters
    ----------
    entries : those of a period; what went to the broker is passed over
    paths : by entry id, what would have become of those that did not
    """
    kept_back: dict[Cause, list[RecordedEntry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.asked_at, entry.id)):
        cause = cause_of(entry, pauses, lockouts)
        if cause is not None:
            kept_back.setdefault(cause, []).append(entry)
    costs = [_cost(cause, held, paths) for cause, held in kept_back.items()]
    return sorted(costs, key=lambda cost: (-abs(cost.effect_usd), cost.cause.kind, cost.cause.key))


def cause_of(entry: RecordedEntry, pauses: Sequence[PauseSpan], lockouts: Sequence[LockoutSpan]) -> Cause | None:
    """Return what kept an entry back; None where nothing did, or where a person still has to answer."""
    is_kept_back = entry.fate in (Fate.WITHDRAWN, Fate.DENIED)
    if is_kept_back and entry.code in PAUSED:
        return _pause(entry, pauses)
    if is_kept_back and entry.code == "SYMBOL_LOCKED":
        return _lockout(entry, lockouts)
    if entry.fate is Fate.DENIED:
        return Cause(DENIAL, entry.code or "", entry.code or "")
    if entry.fate is Fate.NOT_APPROVED:
        return Cause(APPROVAL, entry.code or "", entry.code or "")
    return None


def _pause(entry: RecordedEntry, pauses: Sequence[PauseSpan]) -> Cause:
    if entry.fate is Fate.WITHDRAWN:
        found = _first_to_come(entry, pauses)
    else:
        holding = [span for span in pauses if span.holds(entry, entry.asked_at)]
        found = min(holding, key=lambda span: span.since, default=None)
    return Cause(PAUSE, found.id, found.words) if found else Cause(PAUSE, "", "one that is not on record any more")


def _lockout(entry: RecordedEntry, lockouts: Sequence[LockoutSpan]) -> Cause:
    if entry.fate is Fate.WITHDRAWN:
        found = _first_to_come(entry, lockouts)
    else:
        holding = [span for span in lockouts if span.holds(entry, entry.asked_at)]
        named = [span for span in holding if span.reason == entry.decisions[-1].snapshot.lock_reason]
        found = max(named or holding, key=lambda span: span.until, default=None)
    return Cause(LOCKOUT, found.id, found.words) if found else Cause(LOCKOUT, "", "one that is not on record any more")


def _first_to_come(entry: RecordedEntry, spans: Sequence[_Span]) -> _Span | None:
    """Return what came over an entry that was there already."""
    later = [span for span in spans if span.since >= entry.asked_at and span.holds(entry, span.since)]
    return min(later, key=lambda span: span.since, default=None)


def _cost(cause: Cause, entries: list[RecordedEntry], paths: Mapping[str, Path]) -> Cost:
    open_until: dict[tuple[str, str, bool], datetime | None] = {}
    gains = losses = Decimal(0)
    unknown, repeated = 0, set()
    for entry in sorted(entries, key=lambda entry: (entry.market_at, entry.asked_at, entry.id)):
        key, path = (entry.profile_id, entry.symbol, entry.plan.is_long), paths.get(entry.id)
        if key in open_until and ((until := open_until[key]) is None or entry.market_at < until):
            repeated.add(entry.id)
        elif path is None or path.result_usd is None:
            unknown += 1
        else:
            open_until[key] = path.released_at
            gains += max(path.result_usd, Decimal(0))
            losses += min(path.result_usd, Decimal(0))
    return Cost(cause, tuple(entries), gains, losses, unknown, frozenset(repeated))
