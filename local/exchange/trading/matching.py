"""What one tick does to one order: pure rules, no state."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal
from enum import StrEnum

from local.exchange.market.market import Tick
from local.exchange.market.path import seeded
from local.exchange.trading.hours import Clock
from local.exchange.trading.numbers import CENT, ZERO, truncated
from local.exchange.trading.order import Order, OrderType, Side, TimeInForce

PARTIAL_FILL_PROBABILITY = 0.1
PARTICIPATION_MAX = Decimal("0.025")  # of the volume of the last five minutes, for all orders together
IMPACT = Decimal("0.1")  # price x 0.1 x (share of that volume) squared
CONSERVATIVE_SPREADS = Decimal("0.5")  # a market order pays half a spread more than the quote
COLLAR_MARKET = Decimal("0.05")
COLLAR_STOP_CHEAP, COLLAR_STOP = Decimal("0.04"), Decimal("0.025")
CHEAP_USD = Decimal(50)


class FillProfile(StrEnum):
    """How kind the simulator is.

    `alpaca-paper`: Alpaca's own paper rules, one fill in ten partial and of random size.
    `conservative`: at most 2.5 % of the volume, a worse price than the quote, limits only where the
    market trades through them, and Alpaca's collars on market and stop orders.
    `ideal`: every marketable order fills whole at the quote.
    """

    ALPACA_PAPER = "alpaca-paper"
    CONSERVATIVE = "conservative"
    IDEAL = "ideal"


@dataclass(slots=True)
class Conditions:
    """What all orders of one symbol meet on one tick; `liquidity` is what they have left to share."""

    profile: FillProfile
    seed: int
    clock: Clock
    tick: Tick
    volume: Decimal
    liquidity: Decimal | None = None
    is_auction: bool = False

    def __post_init__(self) -> None:
        if self.profile is FillProfile.CONSERVATIVE:
            self.liquidity = (self.volume * PARTICIPATION_MAX).to_integral_value(ROUND_UP)


def reaches_stop(order: Order, tick: Tick) -> bool:
    """Tell whether the last trade sets off a waiting stop."""
    if order.stop_price is None or order.triggered:
        return False
    if order.side is Side.BUY:
        return tick.trade >= order.stop_price
    return tick.trade <= order.stop_price


def water_mark(order: Order, tick: Tick) -> Decimal:
    """Return the best price since a trailing stop began: the highest for a sale, else the lowest."""
    best = max if order.side is Side.SELL else min
    return tick.trade if order.hwm is None else best(order.hwm, tick.trade)


def in_turn(orders: list[Order], now: Conditions) -> list[Order]:
    """Return orders, given by time, in the order in which they trade.

    Where they share what trades it is price first: market orders, then the limit that gives most.
    """
    if now.liquidity is None:
        return orders
    return sorted(orders, key=lambda order: _patience(order, now.tick.trade))


def fill_price(order: Order, now: Conditions) -> Decimal | None:
    """Return the price at which the order trades on this tick, or None.

    Alpaca's paper rule: a buy takes the ask, a sell the bid; a limit trades when it is at or
    through the quote, and gets the quote (the better of the two). Auctions trade at the trade.
    """
    if order.type.waits_for_trigger and not order.triggered:
        return None
    quote = now.tick.ask if order.side is Side.BUY else now.tick.bid
    if order.time_in_force.is_auction:
        quote = now.tick.trade
    if now.profile is FillProfile.CONSERVATIVE:
        return _conservative_price(order, now, quote)
    return quote if _within(order, quote, order.limit_price) else None


def fill_quantity(order: Order, now: Conditions) -> Decimal:
    """Return how much of the rest trades now, zero where the volume is used up."""
    rest = order.remaining
    if now.liquidity is not None:
        share = min(rest, now.liquidity)
        return ZERO if order.time_in_force is TimeInForce.FOK and share < rest else share
    whole = int(rest.to_integral_value(ROUND_UP))
    if now.profile is FillProfile.IDEAL or whole <= 1 or order.time_in_force is TimeInForce.FOK:
        return rest
    rng = seeded(now.seed, "fill", order.seq, *_moment_parts(now.clock))
    if rng.random() >= PARTIAL_FILL_PROBABILITY:
        return rest
    return Decimal(rng.randrange(1, whole))


def quantity_for(order: Order, price: Decimal) -> Decimal:
    """Return the whole quantity of an order that was given in dollars, now that the price is known."""
    if order.notional is None:
        return order.qty
    return order.filled_qty + max(ZERO, truncated((order.notional - order.filled_value) / price))


def _patience(order: Order, price: Decimal) -> Decimal:
    if order.limit_price is None:
        return Decimal("-Infinity")
    return order.side.sign * (price - order.limit_price)


def _conservative_price(order: Order, now: Conditions, quote: Decimal) -> Decimal | None:
    """Return the quote made worse by half a spread and by the order's own impact.

    A limit has to be traded through, not only touched, and is never exceeded.
    """
    if order.type.has_limit:
        traded_through = order.limit_price is not None and quote != order.limit_price
        return quote if traded_through and _within(order, quote, order.limit_price) else None
    spread = now.tick.ask - now.tick.bid
    share = min(order.remaining, now.liquidity or ZERO) / now.volume if now.volume else ZERO
    worse = spread * CONSERVATIVE_SPREADS + quote * IMPACT * share * share
    price = max(CENT, (quote + order.side.sign * worse).quantize(CENT, ROUND_HALF_EVEN))
    return price if _within(order, price, _collar(order, now.tick)) else None


def _collar(order: Order, tick: Tick) -> Decimal:
    """Return the limit that Alpaca puts on an order that has none."""
    sign = order.side.sign
    if order.type is OrderType.STOP and order.side is Side.BUY and order.stop_price is not None:
        width = COLLAR_STOP_CHEAP if order.stop_price < CHEAP_USD else COLLAR_STOP
        return order.stop_price * (1 + width)
    return tick.trade * (1 + sign * COLLAR_MARKET)


def _within(order: Order, price: Decimal, limit: Decimal | None) -> bool:
    if limit is None:
        return True
    return price <= limit if order.side is Side.BUY else price >= limit


def _moment_parts(clock: Clock) -> tuple[int, ...]:
    """Return what makes a tick's draw its own."""
    parts = (clock.moment.session, clock.moment.tick)
    return (*parts, clock.after) if clock.after else parts
