"""The broker's words: orders, positions, quotes, bars, and its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

NEW_YORK: Final = ZoneInfo("America/New_York")
TERMINAL_STATUSES: Final = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
TIMEFRAME_LENGTHS: Final = {
    "5Min": timedelta(minutes=5),
    "15Min": timedelta(minutes=15),
    "30Min": timedelta(minutes=30),
    "1Hour": timedelta(hours=1),
    "1Day": timedelta(days=1),
}


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order as the broker reports it; `status` is kept raw, times are the broker's."""

    broker_order_id: str
    client_order_id: str
    status: str
    symbol: str
    side: str
    qty: Decimal
    type: str
    order_class: str
    filled_qty: Decimal
    submitted_at: datetime
    updated_at: datetime
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    filled_avg_price: Decimal | None = None
    legs: tuple[BrokerOrder, ...] = ()
    replaces: str | None = None  # the broker's id of the order whose place it took
    replaced_by: str | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether it can still fill; statuses we have never heard of count as open."""
        return self.status not in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """What the account holds of a symbol; a short position is negative."""

    symbol: str
    qty: Decimal


@dataclass(frozen=True, slots=True)
class AccountState:
    """Whether the account may trade: what the broker blocks it by, and its user's own switch."""

    blocked_by: tuple[str, ...] = ()
    suspended_by_user: bool = False

    @property
    def is_blocked(self) -> bool:
        return bool(self.blocked_by) or self.suspended_by_user


@dataclass(frozen=True, slots=True)
class Split:
    """`ratio` new shares for an old one; fills before `effective_at` (market time) were in old shares."""

    symbol: str
    ratio: Decimal
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask of a symbol, in US dollars."""

    symbol: str
    bid: Decimal
    ask: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `at` is its start, prices in US dollars, volume in shares."""

    symbol: str
    timeframe: str
    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class MarketTime:
    """The broker's clock at one moment (aware UTC); `closes_at` is the next close, if told."""

    now: datetime
    is_open: bool
    closes_at: datetime | None = None

    @property
    def session_date(self) -> date:
        """The calendar day in New York."""
        return self.now.astimezone(NEW_YORK).date()

    def weekdays_since(self, then: datetime) -> int:
        """Count the weekdays after `then`'s day up to today, as New York counts days."""
        return _weekdays_after(then.astimezone(NEW_YORK).date(), self.session_date)

    def is_complete(self, bar: Bar) -> bool:
        """Tell whether a bar can no longer change."""
        if bar.timeframe == "1Day":
            return not (self.is_open and bar.at.astimezone(NEW_YORK).date() == self.session_date)
        return bar.at + TIMEFRAME_LENGTHS[bar.timeframe] <= self.now


@lru_cache(maxsize=1000)  # it is asked of each resting entry at each look, and they were decided on few days
def _weekdays_after(day: date, today: date) -> int:
    one = timedelta(days=1)
    return int(np.busday_count(day + one, today + one))
