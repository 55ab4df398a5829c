"""Simulated time: one tick after another, each with its fills, openings and closings."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from local.exchange.market.calendar import NEW_YORK, PRE_OPEN, Moment
from local.exchange.market.market import Market
from local.exchange.trading import lifecycle, pending
from local.exchange.trading.hours import AFTER_HOURS, Clock, Phase, demand, next_clock
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.margin import value
from local.exchange.trading.matching import (
    Conditions,
    FillProfile,
    fill_price,
    fill_quantity,
    in_turn,
    quantity_for,
    reaches_stop,
    water_mark,
)
from local.exchange.trading.numbers import ZERO
from local.exchange.trading.order import Order, OrderType, Status, TimeInForce, is_crypto
from local.exchange.trading.quotes import tick_of, ticks_of, volume_before

# Returns how much of a fill a test lets through, or None where it does not interfere.
Throttle = Callable[[Order, Decimal], Decimal | None]


def is_over(ledger: Ledger, market: Market) -> bool:
    """Tell whether the tape has ended: no tick is left."""
    last = market.tape.last_session
    return ledger.moment >= Moment(last, market.calendar[last].last_tick)


def skip_night(ledger: Ledger, market: Market) -> bool:
    """Jump from a close to shortly before the next open; False where the night must be walked."""
    if is_over(ledger, market):
        return True
    if any(demand(ledger.book)):
        return False
    ledger.clock = Clock(Moment(ledger.moment.session + 1, PRE_OPEN))
    return True


def next_tick(ledger: Ledger, market: Market) -> Clock:
    """Return the tick that comes next for this ledger's orders."""
    clock = ledger.clock
    if clock.moment.tick < market.calendar[clock.moment.session].last_tick:
        return Clock(Moment(clock.moment.session, clock.moment.tick + 1))
    return next_clock(clock, market.calendar, ledger.book)


def process_tick(
    ledger: Ledger, market: Market, profile: FillProfile, clock: Clock, throttle: Throttle | None = None
) -> None:
    """Move time to `clock` and do everything that this tick does.

    Orders that were accepted before the tick may trade on it; what the tick itself brings to
    life (the exits of a filled entry) waits for the next one.
    """
    before, ledger.clock = ledger.clock, clock
    if _has_ended_after_hours(market, before, clock):
        _expire_extended(ledger)
    if clock.is_open_tick:
        _open_session(ledger, market)
    _route_waiting(ledger)
    for symbol in ledger.book.symbols():
        if not clock.is_outside or _trades_outside(ledger, symbol):
            _match_symbol(ledger, market, symbol, profile, throttle)
    pending.settle(ledger)
    if clock.is_close(market.calendar):
        _close_session(ledger, market)


def _trades_outside(ledger: Ledger, symbol: str) -> bool:
    return is_crypto(symbol) or any(order.extended_hours for order in ledger.book.of_symbol(symbol))


def _match_symbol(ledger: Ledger, market: Market, symbol: str, profile: FillProfile, throttle: Throttle | None) -> None:
    if symbol in ledger.controls.halted:
        return
    tick = tick_of(market, ledger, symbol)
    if not ledger.book.waiting(symbol).is_over(tick):
        return
    volume = Decimal(volume_before(market, ledger, symbol)) if profile is FillProfile.CONSERVATIVE else ZERO
    now = Conditions(profile, ledger.state.seed, ledger.clock, tick, volume)
    for order in in_turn([order for order in ledger.book.of_symbol(symbol) if order.can_trade], now):
        # An order before it may have ended it.
        if order.is_open and _takes_part(order, ledger, market):
            _match(ledger, order, now, throttle)


def _takes_part(order: Order, ledger: Ledger, market: Market) -> bool:
    """Tell whether this tick is one on which the order may trade."""
    clock = ledger.clock
    if order.time_in_force is TimeInForce.OPG:
        return clock.is_open_tick
    if order.time_in_force is TimeInForce.CLS:
        return clock.is_close(market.calendar)
    if not clock.is_outside or order.is_crypto:
        return True
    return order.extended_hours and clock.phase(market.calendar) is Phase.EXTENDED


def _match(ledger: Ledger, order: Order, now: Conditions, throttle: Throttle | None) -> None:
    if reaches_stop(order, now.tick):
        lifecycle.trigger(ledger, order)
    elif order.type is OrderType.TRAILING_STOP and not order.triggered:
        _trail(ledger, order, now)
    price = fill_price(order, now)
    if price is not None:
        _trade(ledger, order, price, now, throttle)
    if order.is_open and (order.time_in_force.is_immediate or order.time_in_force.is_auction):
        end = lifecycle.expire if order.time_in_force.is_auction else lifecycle.cancel
        end(ledger, order)


def _trail(ledger: Ledger, order: Order, now: Conditions) -> None:
    mark = water_mark(order, now.tick)
    if mark != order.hwm:
        order.hwm, order.stop_price = mark, order.trail_from(mark)
        ledger.touch(order)


def _trade(ledger: Ledger, order: Order, price: Decimal, now: Conditions, throttle: Throttle | None) -> None:
    lifecycle.fix_quantity(ledger, order, quantity_for(order, price))
    if not order.remaining:
        return
    qty = fill_quantity(order, now)
    limited = throttle(order, qty) if throttle else None
    qty = qty if limited is None else min(qty, limited)
    if qty <= ZERO:
        return
    if now.liquidity is not None:
        now.liquidity -= qty
    lifecycle.execute(ledger, order, qty, price)


def _route_waiting(ledger: Ledger) -> None:
    """Bring accepted orders to the market as soon as it takes them."""
    for order in sorted(ledger.book.queued.values(), key=lambda each: each.seq):
        if order.active and is_taken(order, ledger):
            ledger.move(order, Status.PENDING_NEW, quietly=True)
            ledger.move(order, Status.NEW)


def is_taken(order: Order, ledger: Ledger) -> bool:
    """Tell whether the market takes an order at this moment: open for it, and not halted."""
    if order.symbol in ledger.controls.halted:
        return False
    clock, calendar = ledger.clock, ledger.market.calendar
    if order.is_crypto or ledger.is_open or clock.is_open_tick:
        return True
    return order.extended_hours and clock.phase(calendar) is Phase.EXTENDED


def _open_session(ledger: Ledger, market: Market) -> None:
    ledger.settle_positions()
    for symbol in market.tape.symbols:
        ratio = market.tape.split_ratio(symbol, ledger.moment.session)
        if ratio != 1:
            _split(ledger, symbol, ratio)
    for order in ledger.book:
        if order.status is Status.DONE_FOR_DAY:
            ledger.move(order, Status.NEW)


def _split(ledger: Ledger, symbol: str, ratio: int) -> None:
    """Give every old share its new ones, and adjust what open orders say about them.

    A partly filled order cannot be restated (its fills happened in old shares), nor one that is
    about to be replaced: they are canceled. An order in dollars stays what it is.
    """
    for order in ledger.book.of_symbol(symbol):
        if order.is_open and (order.filled_qty or order.status is Status.PENDING_REPLACE):
            lifecycle.cancel(ledger, order)
    ledger.split(symbol, ratio)
    for order in ledger.book.of_symbol(symbol):
        order.qty *= ratio
        for field in ("limit_price", "stop_price", "trail_price", "hwm"):
            price = getattr(order, field)
            if price is not None:
                setattr(order, field, round(price / ratio, 2))
        ledger.touch(order)


def _close_session(ledger: Ledger, market: Market) -> None:
    today = market.calendar[ledger.moment.session].date
    for order in ledger.book:
        if not order.is_open:
            continue  # ended by an earlier order of its group in this very loop
        if order.time_in_force is TimeInForce.DAY and not order.extended_hours:
            lifecycle.expire(ledger, order)
        elif order.expires_at is not None and order.expires_at.astimezone(NEW_YORK).date() <= today:
            lifecycle.cancel(ledger, order)
    equity = value(ledger.account, ledger.book, ticks_of(market, ledger)).equity
    ledger.close_session(equity)


def _has_ended_after_hours(market: Market, before: Clock, clock: Clock) -> bool:
    end = market.calendar[before.moment.session].closes + AFTER_HOURS
    return before.time(market.calendar) < end <= clock.time(market.calendar)


def _expire_extended(ledger: Ledger) -> None:
    for order in ledger.book:
        if order.is_open and order.extended_hours and order.time_in_force is TimeInForce.DAY:
            lifecycle.expire(ledger, order)
