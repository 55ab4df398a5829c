"""The gate's recorded decisions, judged again under other limits and controls. Pure: nothing is decided here.

What is judged is the snapshot that the gate wrote down. Entries that pass in the replay and did not in the record, and
the other way round, feed back into later decisions: into capital, exposure, open entries, positions and order rates.
What no snapshot can tell stays as it was recorded: losses, drawdown, losing streaks, and what a strategy would have
asked for had one of its entries not been made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from engine.domain.price_path import Path, Plan
from engine.domain.risk import Check, GateSnapshot, approval_reasons, gate_checks, gate_code
from engine.domain.risk_config import PortfolioRiskConfig

REPEATS_WINDOW: Final = timedelta(hours=1)  # the configuration's own is not in the snapshot; this is the shipped one
WEEKEND_QUOTE_S: Final = Decimal(345_600)  # while the market is closed, its last quote may be this old
PAUSED: Final = ("TRADING_PAUSED", "TRADING_HALTED")
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)


class Fate(StrEnum):
    """What became of an entry, in the record or in the replay."""

    PASSED = "passed"
    DENIED = "denied"
    NOT_APPROVED = "not_approved"  # a person said no, or nobody decided in time
    WITHDRAWN = "withdrawn"  # passed, and taken back by a pause or a lockout before anything was filled
    WAITS = "waits"  # for a person whose answer nobody knows
    NOT_ASKED = "not_asked"  # the same entry would have been open already


class Controls(StrEnum):
    """What is assumed of pauses or lockouts."""

    RECORDED = "As they were"
    NONE = "None"


class Approvals(StrEnum):
    """What is assumed of the people who are asked."""

    RECORDED = "As they were"
    ALL = "Everything approved"
    NOBODY = "Nothing approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is assumed to be different. `limits`: by the snapshot's field names; what is not named stays as it was."""

    limits: Mapping[str, Decimal | int | bool] = field(default_factory=dict)
    pauses: Controls = Controls.RECORDED
    lockouts: Controls = Controls.RECORDED
    locked_symbols: frozenset[str] = frozenset()
    paused_throughout: bool = False
    approvals: Approvals = Approvals.RECORDED

    def applied(self, s: GateSnapshot, symbol: str) -> GateSnapshot:
        """Return a snapshot as it would have been."""
        changed: dict[str, Any] = dict(self.limits)
        quote_age_s = changed.get("quote_age_max_s")
        if quote_age_s is not None and s.market_open is False:
            changed["quote_age_max_s"] = max(quote_age_s, WEEKEND_QUOTE_S)
        if self.pauses is Controls.NONE:
            changed["mode"] = "RUNNING"
        if self.paused_throughout and changed.get("mode", s.mode) == "RUNNING":
            changed["mode"] = "PAUSED"
        if self.lockouts is Controls.NONE:
            changed |= {"locked_until": None, "lock_reason": None}
        if symbol in self.locked_symbols:
            changed |= {"locked_until": "throughout", "lock_reason": "assumed"}
        return replace(s, **changed) if changed else s


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """One answer of the gate: its code (None: every check passed) and the snapshot that it judged."""

    code: str | None
    asked_a_person: bool
    snapshot: GateSnapshot
    config: PortfolioRiskConfig | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEntry:
    """An entry that was put to the gate, its decisions in order, and how it ended.

    `asked_at` is the database's time, every other time the market's. `works_until`: when it was filled or ended;
    `held_until`: when its capital was free again; None where that has not happened. `result_usd`: what its trade
    brought; None while it is open, 0 where nothing was filled. `code`: the gate's, or of what withdrew it.
    `is_released`: whether it might be sent, after a person's yes where one was asked.
    """

    id: str
    owner_id: str
    profile_id: str
    symbol: str
    asked_at: datetime
    plan: Plan
    decisions: tuple[RecordedDecision, ...]
    fate: Fate
    code: str | None
    works_until: datetime | None = None
    held_until: datetime | None = None
    result_usd: Decimal | None = None
    is_released: bool = True

    @property
    def market_at(self) -> datetime:
        return self.plan.asked_at

    @property
    def first(self) -> GateSnapshot:
        return self.decisions[0].snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One entry in the replay; `checks`: of the decision that counted."""

    entry: RecordedEntry
    fate: Fate
    code: str | None
    checks: tuple[Check, ...]

    @property
    def is_changed(self) -> bool:
        return (self.fate, self.code) != (self.entry.fate, self.entry.code)

    @property
    def is_added(self) -> bool:
        """Whether it goes to the broker in the replay, and did not in the record."""
        return self.fate is Fate.PASSED and self.entry.fate is not Fate.PASSED

    @property
    def is_removed(self) -> bool:
        """Whether it went to the broker in the record, and does not in the replay."""
        return self.entry.fate is Fate.PASSED and self.fate is not Fate.PASSED


def replay(entries: Iterable[RecordedEntry], change: Change, paths: Mapping[str, Path]) -> list[Judged]:
    """Judge entries again in the order in which they were asked.

    Parameters
    ----------
    entries : each with at least one decision
    paths : by entry id, what would become of those that did not pass in the record

    Returns
    -------
    list[Judged], one for each entry in the order of asking; under `Change()` each is as it was recorded.
    """
    ordered = sorted(entries, key=lambda entry: (entry.asked_at, entry.id))
    book = _Book(ordered)
    judged = []
    for entry in ordered:
        answer = _judge(entry, change, book)
        book.note(answer, paths.get(entry.id))
        judged.append(answer)
    return judged


def _judge(entry: RecordedEntry, change: Change, book: _Book) -> Judged:
    if book.is_open(entry):
        return Judged(entry=entry, fate=Fate.NOT_ASKED, code=None, checks=())
    checks: list[Check] = []
    for decision in entry.decisions:
        snapshot = change.applied(book.shifted(decision.snapshot, entry), entry.symbol)
        checks = gate_checks(snapshot)
        code = gate_code(checks)
        if code is not None:
            return Judged(entry=entry, fate=Fate.DENIED, code=code, checks=tuple(checks))
        if decision.code is not None:
            return Judged(
                entry=entry, fate=_newly_passed(decision, snapshot, entry, change), code=None, checks=tuple(checks)
            )
    fate = _after_the_gate(entry, change)
    return Judged(entry=entry, fate=fate, code=entry.code if fate is entry.fate else None, checks=tuple(checks))


def _newly_passed(decision: RecordedDecision, s: GateSnapshot, entry: RecordedEntry, change: Change) -> Fate:
    """Return the fate of what the gate denied and now lets through: a person may have to be asked first."""
    was_approved = decision is not entry.decisions[0]
    if was_approved or decision.config is None or not approval_reasons(decision.config, s):
        return Fate.PASSED
    return {
        Approvals.RECORDED: Fate.WAITS,
        Approvals.ALL: Fate.PASSED,
        Approvals.NOBODY: Fate.NOT_APPROVED,
    }[change.approvals]


def _after_the_gate(entry: RecordedEntry, change: Change) -> Fate:
    """Return the fate of what passed every recorded check, in the record and again."""
    asked_a_person = entry.decisions[0].asked_a_person
    if entry.fate in (Fate.NOT_APPROVED, Fate.WAITS) and change.approvals is Approvals.ALL:
        return Fate.PASSED
    if asked_a_person and change.approvals is Approvals.NOBODY:
        return Fate.NOT_APPROVED
    if entry.fate in (Fate.WITHDRAWN, Fate.DENIED) and _is_lifted(entry.code, change):
        if entry.is_released or change.approvals is Approvals.ALL:
            return Fate.PASSED
        return Fate.WAITS
    return entry.fate


def _is_lifted(code: str | None, change: Change) -> bool:
    """Tell whether what stood in an entry's way after the gate is assumed not to have been there."""
    if code in PAUSED:
        return change.pauses is Controls.NONE and not change.paused_throughout
    return code == "SYMBOL_LOCKED" and change.lockouts is Controls.NONE


@dataclass(frozen=True, slots=True)
class _Shift:
    """An entry that is in the replay and not in the record (`sign` 1), or the other way round (-1)."""

    sign: int
    entry: RecordedEntry
    works_until: datetime | None
    until: datetime | None

    def is_held(self, at: datetime) -> bool:
        return self.entry.market_at <= at and (self.until is None or at < self.until)

    def is_working(self, at: datetime) -> bool:
        return self.is_held(at) and (self.works_until is None or at < self.works_until)

    def is_within(self, span: timedelta, at: datetime) -> bool:
        return at - span < self.entry.market_at <= at


class _Book:
    """What the replay holds beyond the record, and what the record held and the replay does not."""

    def __init__(self, entries: list[RecordedEntry]) -> None:
        self._passed: dict[str, list[RecordedEntry]] = {}
        for entry in entries:
            if entry.fate is Fate.PASSED:
                self._passed.setdefault(entry.profile_id, []).append(entry)
        self._shifts: dict[str, list[_Shift]] = {}

    def note(self, judged: Judged, path: Path | None) -> None:
        """Take in what differs from the record."""
        entry = judged.entry
        shifts = self._shifts.setdefault(entry.owner_id, [])
        if judged.is_added:
            works = path.entry_at or path.released_at if path else None
            shifts.append(_Shift(1, entry, works, path.released_at if path else None))
        elif judged.is_removed:
            shifts.append(_Shift(-1, entry, entry.works_until, entry.held_until))

    def is_open(self, entry: RecordedEntry) -> bool:
        """Tell whether the replay holds the same profile's entry in the same symbol and direction."""
        return any(
            shift.sign > 0 and shift.is_held(entry.market_at) and _same(shift.entry, entry)
            for shift in self._shifts.get(entry.owner_id, [])
        )

    def shifted(self, s: GateSnapshot, entry: RecordedEntry) -> GateSnapshot:
        """Return a snapshot with what the replay holds instead of what the record held."""
        at = entry.market_at
        shifts = [x for x in self._shifts.get(entry.owner_id, []) if x.is_held(at) or x.is_within(_DAY, at)]
        if not shifts:
            return s
        held = [x for x in shifts if x.is_held(at)]
        own = [x for x in held if x.entry.profile_id == entry.profile_id]
        working = [x for x in own if x.is_working(at)]
        asked = [x for x in shifts if x.entry.profile_id == entry.profile_id]
        return replace(
            s,
            gross_exposure_usd=s.gross_exposure_usd + _usd(held),
            sector_exposure_usd=s.sector_exposure_usd + _usd(x for x in held if x.entry.first.sector == s.sector),
            position_notional_usd=s.position_notional_usd + _usd(x for x in own if x.entry.symbol == entry.symbol),
            reserved_usd=s.reserved_usd + _usd(working),
            used_usd=s.used_usd + _usd(x for x in own if not x.is_working(at)),
            open_orders=s.open_orders + _count(working),
            open_entries=s.open_entries + _count(x for x in working if _same(x.entry, entry)),
            positions=s.positions + self._more_symbols(own, entry),
            orders_last_minute=s.orders_last_minute + _count(x for x in asked if x.is_within(_MINUTE, at)),
            orders_last_day=s.orders_last_day + _count(x for x in asked if x.is_within(_DAY, at)),
            repeats=s.repeats + _count(x for x in asked if x.is_within(REPEATS_WINDOW, at) and _same(x.entry, entry)),
        )

    def _more_symbols(self, own: list[_Shift], entry: RecordedEntry) -> int:
        """Return how many symbols more (or, negative, fewer) the profile holds beside the one that is asked for."""
        removed = {x.entry.id for x in own if x.sign < 0}
        recorded = [
            other
            for other in self._passed.get(entry.profile_id, [])
            if other.id != entry.id
            and other.symbol != entry.symbol
            and other.market_at <= entry.market_at
            and (other.held_until is None or entry.market_at < other.held_until)
        ]
        before = {other.symbol for other in recorded}
        kept = {other.symbol for other in recorded if other.id not in removed}
        added = {x.entry.symbol for x in own if x.sign > 0 and x.entry.symbol != entry.symbol}
        return len(kept | added) - len(before)


def _same(one: RecordedEntry, other: RecordedEntry) -> bool:
    return (one.profile_id, one.symbol, one.plan.is_long) == (other.profile_id, other.symbol, other.plan.is_long)


def _usd(shifts: Iterable[_Shift]) -> Decimal:
    return sum((x.sign * x.entry.first.notional_usd for x in shifts), Decimal(0))


def _count(shifts: Iterable[_Shift]) -> int:
    return sum(x.sign for x in shifts)
