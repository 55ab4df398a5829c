"""When what may trade: regular hours, the extended hours around them, and nights.

The tape has ticks for regular hours only. A night is walked through in five-minute ticks, counted
from the close by `Clock.after`, where an order is open that could trade in it; otherwise time
jumps from a close to the next open. The synthetic market stands still in between: quotes are
those of the close.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from local.exchange.market.calendar import NEW_YORK, PRE_OPEN, TICK, Moment, SessionCalendar
from local.exchange.trading.order import Order, Status

AFTER_HOURS = timedelta(hours=4)
PRE_MARKET = timedelta(hours=5, minutes=30)
OPG_CLOSES = timedelta(minutes=2)  # before the open
CLS_CLOSES = timedelta(minutes=10)  # before the close
AUCTIONS_OPEN_HOUR = 19  # in New York


class Phase(StrEnum):
    REGULAR = "regular"
    EXTENDED = "extended"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, order=True)
class Clock:
    """A point of simulated time: a tick of the tape, and the ticks walked since it."""

    moment: Moment
    after: int = 0

    def time(self, calendar: SessionCalendar) -> datetime:
        return calendar.time_of(self.moment) + self.after * TICK

    def phase(self, calendar: SessionCalendar) -> Phase:
        if not self.after and calendar.is_open(self.moment):
            return Phase.REGULAR
        now, day = self.time(calendar), calendar[self.moment.session]
        following = calendar[self.moment.session + 1] if self.moment.tick >= day.last_tick else day
        if day.closes <= now < day.closes + AFTER_HOURS or following.opens - PRE_MARKET <= now:
            return Phase.EXTENDED
        return Phase.CLOSED

    def is_close(self, calendar: SessionCalendar) -> bool:
        return not self.after and self.moment.tick == calendar[self.moment.session].last_tick

    @property
    def is_outside(self) -> bool:
        """Tell whether this is a tick outside regular hours."""
        return self.after > 0 or self.moment.tick < 0

    @property
    def is_open_tick(self) -> bool:
        return not self.after and self.moment.tick == 0


def next_clock(clock: Clock, calendar: SessionCalendar, orders: Iterable[Order]) -> Clock:
    """Return the tick after `clock`, where some of `orders` may trade outside regular hours."""
    moment, day = clock.moment, calendar[clock.moment.session]
    if moment.tick < day.last_tick:
        return Clock(Moment(moment.session, moment.tick + 1))
    crypto, equity = demand(orders)
    if not (crypto or equity):
        return Clock(Moment(moment.session + 1, 0))
    following = calendar[moment.session + 1]
    after = clock.after + 1
    # The tick that ends the evening is always walked: day orders expire on it.
    if not crypto and after > AFTER_HOURS // TICK and Clock(moment, after).phase(calendar) is Phase.CLOSED:
        after = (following.opens - PRE_MARKET - day.closes) // TICK
    if after >= (following.opens - day.closes) // TICK - 1:
        return Clock(Moment(moment.session + 1, PRE_OPEN))
    return Clock(moment, after)


def demand(orders: Iterable[Order]) -> tuple[bool, bool]:
    """Tell whether crypto orders, and whether extended-hours orders, want the night walked."""
    live = [order for order in orders if order.active and order.status is not Status.HELD]
    crypto = any(order.is_crypto for order in live)
    return crypto, any(order.extended_hours and not order.is_crypto for order in live)


def takes_opg(clock: Clock, calendar: SessionCalendar) -> bool:
    """Tell whether an order for the next opening auction may still come."""
    now, day = clock.time(calendar), calendar[clock.moment.session]
    if now >= day.closes:
        return _is_evening(now, day.date)
    return now < day.opens - OPG_CLOSES


def takes_cls(clock: Clock, calendar: SessionCalendar) -> bool:
    """Tell whether an order for the next closing auction may still come."""
    now, day = clock.time(calendar), calendar[clock.moment.session]
    if now >= day.closes:
        return _is_evening(now, day.date)
    return now < day.closes - CLS_CLOSES


def _is_evening(now: datetime, closed_on: date) -> bool:
    local = now.astimezone(NEW_YORK)
    return local.hour >= AUCTIONS_OPEN_HOUR or local.date() > closed_on
