"""What one tick does to one order: pure rules, no state."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from enum import StrEnum

from local.exchange.market.calendar import Moment
from local.exchange.market.market import Tick
from local.exchange.market.path import seeded
from local.exchange.trading.order import Order, OrderType, Side, TimeInForce

PARTIAL_FILL_PROBABILITY = 0.1


class FillProfile(StrEnum):
    """How kind the simulator is: Alpaca's own paper rules, or every fill complete."""

    ALPACA_PAPER = "alpaca-paper"
    IDEAL = "ideal"


def reaches_stop(order: Order, tick: Tick) -> bool:
    """Tell whether the last trade sets off a waiting stop."""
    if order.stop_price is None or order.triggered:
        return False
    if order.side is Side.BUY:
        return tick.trade >= order.stop_price
    return tick.trade <= order.stop_price


def fill_price(order: Order, tick: Tick) -> Decimal | None:
    """Return the price at which the order trades on this tick, or None.

    Alpaca's paper rule: a buy takes the ask, a sell the bid; a limit trades when it is at or
    through the quote, and gets the quote (the better of the two).
    """
    if order.type.has_stop and not order.triggered:
        return None
    quote = tick.ask if order.side is Side.BUY else tick.bid
    if not order.type.has_limit or order.limit_price is None:
        return quote
    marketable = quote <= order.limit_price if order.side is Side.BUY else quote >= order.limit_price
    return quote if marketable else None


def fill_quantity(profile: FillProfile, seed: int, order: Order, moment: Moment) -> Decimal:
    """Return how much of the rest trades now: one time in ten a random part, as at Alpaca."""
    rest = order.remaining
    whole = int(rest.to_integral_value(ROUND_UP))
    if profile is FillProfile.IDEAL or whole <= 1 or order.time_in_force is TimeInForce.FOK:
        return rest
    rng = seeded(seed, "fill", order.seq, moment.session, moment.tick)
    if rng.random() >= PARTIAL_FILL_PROBABILITY:
        return rest
    return Decimal(rng.randrange(1, whole))


def reference_price(order_type: OrderType, limit: Decimal | None, stop: Decimal | None) -> Decimal | None:
    """Return the price an order names itself: its limit, else its stop, else none."""
    return limit if order_type.has_limit else stop
