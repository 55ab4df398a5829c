"""Simulated time: one tick after another, each with its fills, openings and closings."""

from __future__ import annotations

from local.exchange.market.calendar import PRE_OPEN, Moment
from local.exchange.market.market import Market, Tick
from local.exchange.trading import lifecycle
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.margin import value
from local.exchange.trading.matching import FillProfile, fill_price, fill_quantity, reaches_stop
from local.exchange.trading.order import Order, Status, TimeInForce

_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


def is_over(ledger: Ledger, market: Market) -> bool:
    """Tell whether the tape has ended: no tick is left."""
    last = market.tape.last_session
    return ledger.moment >= Moment(last, market.calendar[last].last_tick)


def next_tick(market: Market, moment: Moment) -> Moment:
    """Return the tick after `moment`; after the close that is the next session's open."""
    if moment.tick < market.calendar[moment.session].last_tick:
        return Moment(moment.session, moment.tick + 1)
    return Moment(moment.session + 1, 0)


def skip_night(ledger: Ledger, market: Market) -> None:
    """Move from a close to shortly before the next open; nothing trades in between."""
    if not is_over(ledger, market):
        ledger.moment = Moment(ledger.moment.session + 1, PRE_OPEN)


def process_tick(ledger: Ledger, market: Market, profile: FillProfile) -> None:
    """Move time by one tick and do everything that this tick does.

    Orders that were accepted before the tick may trade on it; what the tick itself brings to
    life (the exits of a filled entry) waits for the next one.
    """
    ledger.moment = next_tick(market, ledger.moment)
    if ledger.moment.tick == 0:
        _open_session(ledger, market)
    for symbol in ledger.book.symbols():
        tick = market.tick(symbol, ledger.moment)
        if ledger.book.waiting(symbol).is_over(tick):
            _match_all(ledger, symbol, tick, profile)
    if ledger.moment.tick == market.calendar[ledger.moment.session].last_tick:
        _close_session(ledger, market)


def ticks_of(market: Market, ledger: Ledger) -> dict[str, Tick]:
    """Return the current tick of every symbol that is held or has an open order."""
    symbols = {*ledger.account.positions, *ledger.book.symbols()}
    return {symbol: market.tick(symbol, ledger.moment) for symbol in symbols}


def _match_all(ledger: Ledger, symbol: str, tick: Tick, profile: FillProfile) -> None:
    for order in [order for order in ledger.book.of_symbol(symbol) if order.active]:
        if order.is_open:  # an order before it may have ended it
            _match(ledger, order, tick, profile)


def _match(ledger: Ledger, order: Order, tick: Tick, profile: FillProfile) -> None:
    if reaches_stop(order, tick):
        lifecycle.trigger(ledger, order)
    price = fill_price(order, tick)
    if price is not None:
        qty = fill_quantity(profile, ledger.state.seed, order, ledger.moment)
        lifecycle.execute(ledger, order, qty, price)
    if order.is_open and order.time_in_force in _AT_ONCE:
        lifecycle.cancel(ledger, order)


def _open_session(ledger: Ledger, market: Market) -> None:
    for symbol in market.tape.symbols:
        ratio = market.tape.split_ratio(symbol, ledger.moment.session)
        if ratio != 1:
            _split(ledger, symbol, ratio)
    for order in ledger.book:
        if order.status is Status.ACCEPTED:
            ledger.move(order, Status.NEW)


def _split(ledger: Ledger, symbol: str, ratio: int) -> None:
    """Give every old share its new ones, and adjust what open orders say about them.

    A partly filled order cannot be restated (its fills happened in old shares): it is canceled.
    """
    for order in ledger.book.of_symbol(symbol):
        if order.is_open and order.filled_qty:
            lifecycle.cancel(ledger, order)
    ledger.split(symbol, ratio)
    for order in ledger.book.of_symbol(symbol):
        order.qty *= ratio
        for field in ("limit_price", "stop_price"):
            price = getattr(order, field)
            if price is not None:
                setattr(order, field, round(price / ratio, 2))
        ledger.touch(order)


def _close_session(ledger: Ledger, market: Market) -> None:
    now = ledger.now
    for order in ledger.book:
        if not order.is_open:
            continue  # ended by an earlier order of its group in this very loop
        if order.time_in_force is TimeInForce.DAY:
            lifecycle.expire(ledger, order)
        elif order.expires_at is not None and order.expires_at <= now:
            lifecycle.cancel(ledger, order)
    equity = value(ledger.account, ledger.book, ticks_of(market, ledger)).equity
    ledger.close_session(equity)
