"""Periods of whole months, which is what closed trades are added up by."""

from dataclasses import dataclass
from datetime import date

PERIODS = {"This month": 1, "3 months": 3, "6 months": 6, "12 months": 12, "All": None}
DEFAULT = "6 months"


@dataclass(frozen=True)
class Period:
    """From `since` until before `until`, both first days of months on the exchange's calendar."""

    since: date
    until: date

    def words(self) -> str:
        """Return the period as people say it."""
        last = _months_later(self.until, -1)
        return f"{self.since:%b %Y}" if self.since == last else f"{self.since:%b %Y} to {last:%b %Y}"


def period_of(choice: str, first_session: date, last_session: date) -> Period:
    """Return the months that a choice means, up to and with the last session's month."""
    until = _months_later(last_session.replace(day=1), 1)
    months = PERIODS[choice]
    return Period(first_session.replace(day=1) if months is None else _months_later(until, -months), until)


def period_before(choice: str, period: Period, first_session: date) -> Period | None:
    """Return as many months right before a period; None where they were not recorded from their beginning on."""
    months = PERIODS[choice]
    if months is None:
        return None
    since = _months_later(period.since, -months)
    return Period(since, period.since) if first_session.replace(day=1) <= since else None


def _months_later(month: date, months: int) -> date:
    years, index = divmod(month.month - 1 + months, 12)
    return date(month.year + years, index + 1, 1)
