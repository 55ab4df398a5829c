"""Trading sessions of the New York Stock Exchange, early closes included."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
TICK = timedelta(minutes=5)
PRE_OPEN = -1  # the tick number of a session that has not opened yet


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A point of simulated time: a session and one of its five-minute ticks.

    Tick 0 is the open, the session's last tick is its close, -1 is shortly before the open.
    """

    session: int
    tick: int


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day; `opens` and `closes` are aware UTC."""

    index: int
    date: date
    opens: datetime
    closes: datetime

    @property
    def last_tick(self) -> int:
        return (self.closes - self.opens) // TICK

    def time_of(self, tick: int) -> datetime:
        return self.opens + tick * TICK


class SessionCalendar:
    """All sessions the exchange knows, in order; `Moment.session` indexes into it."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = list(sessions)
        self._dates = [session.date for session in sessions]

    def __getitem__(self, index: int) -> Session:
        return self.sessions[index]

    def __len__(self) -> int:
        return len(self.sessions)

    def index_from(self, day: date) -> int:
        """Return the index of the first session on or after `day` (may be one past the last)."""
        return bisect_left(self._dates, day)

    def time_of(self, moment: Moment) -> datetime:
        return self.sessions[moment.session].time_of(moment.tick)

    def moment_at(self, at: datetime) -> Moment:
        """Return the last tick at or before a time; between a close and the next open, that close."""
        session = self.index_from(at.astimezone(NEW_YORK).date())
        if session == len(self) or at < self.sessions[session].opens:
            session -= 1
        if session < 0:
            return Moment(0, PRE_OPEN)
        day = self.sessions[session]
        return Moment(session, min((at - day.opens) // TICK, day.last_tick))

    def is_open(self, moment: Moment) -> bool:
        return 0 <= moment.tick < self.sessions[moment.session].last_tick


def new_york_sessions(first: date, last: date) -> SessionCalendar:
    """Return the exchange's sessions from `first` to `last`, both included."""
    # Imported here because pandas takes most of a second to load and only this function needs it.
    import exchange_calendars  # type: ignore[import-untyped]  # it ships no types

    with warnings.catch_warnings():
        # The library itself calls what pandas 3 deprecates; users can do nothing about it.
        warnings.simplefilter("ignore", DeprecationWarning)
        schedule = exchange_calendars.get_calendar("XNYS", start=first.isoformat(), end=last.isoformat()).schedule
    opens = [stamp.to_pydatetime().astimezone(UTC) for stamp in schedule["open"]]
    closes = [stamp.to_pydatetime().astimezone(UTC) for stamp in schedule["close"]]
    dates = [stamp.date() for stamp in schedule.index]
    rows = zip(dates, opens, closes, strict=True)
    return SessionCalendar([Session(index, *row) for index, row in enumerate(rows)])
