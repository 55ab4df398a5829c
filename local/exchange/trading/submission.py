"""From ticket to orders: may this account place it now, and which orders does it become?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from local.exchange.market.market import Market, Tick
from local.exchange.trading import errors
from local.exchange.trading.account import Account
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.margin import SHORTING_EQUITY_USD_MIN, opening_cost, value
from local.exchange.trading.numbers import CENT, ZERO, is_whole
from local.exchange.trading.order import (
    Intent,
    Leg,
    Order,
    OrderClass,
    OrderType,
    Side,
    Status,
    TimeInForce,
)
from local.exchange.trading.session import ticks_of
from local.exchange.trading.ticket import StopLoss, Ticket

GTC_LIFE = timedelta(days=90)


def check(ticket: Ticket, ledger: Ledger, market: Market) -> Intent:
    """Return what the ticket would do to the position.

    Raises
    ------
    Refusal if the account may not place it; nothing has changed then
    """
    if ledger.account.settings.suspend_trade:
        raise errors.forbidden("new orders are rejected by user request")
    check_client_order_id(ticket.client_order_id, ledger)
    check_symbol(ticket.symbol, ledger, market)
    tick = market.tick(ticket.symbol, ledger.moment)
    _check_exits(ticket, tick)
    held = ledger.account.qty(ticket.symbol)
    closes = held * ticket.side.sign < 0
    intent = Intent.of(ticket.side, closes=closes)
    if ticket.intent not in (None, intent):
        raise errors.unprocessable(f"position intent mismatch, inferred: {intent}, specified: {ticket.intent}")
    if closes or ticket.order_class is OrderClass.OCO:
        check_free(ledger, ticket.symbol, ticket.qty, closes=closes)
    if closes and ticket.order_class in (OrderClass.BRACKET, OrderClass.OTO):
        raise errors.unprocessable(f"{ticket.order_class} orders must be entry orders")
    if not closes:
        _check_opening(ticket, ledger, market, tick)
    return intent


def place(ticket: Ticket, intent: Intent, ledger: Ledger) -> Order:
    """Add the orders of a checked ticket; return the first as Alpaca's answer shows it."""
    orders = _orders(ticket, intent, ledger)
    for order in orders:
        ledger.add(order)
    answer = replace(orders[0])
    route(orders[0], ledger)
    for leg in orders[1:]:
        if leg.active and leg.leg is not Leg.STOP_LOSS:
            route(leg, ledger)
    return answer if ledger.is_open else replace(orders[0])


def route(order: Order, ledger: Ledger) -> None:
    """Bring a received order to the market, or queue it for the next open."""
    ledger.move(order, Status.NEW if ledger.is_open else Status.ACCEPTED)


def check_client_order_id(client_order_id: str | None, ledger: Ledger) -> None:
    """Refuse an id that any order, open or long ended, has already used."""
    if client_order_id and ledger.store.order_by_client_id(client_order_id):
        raise errors.duplicate_client_order_id()


def check_symbol(symbol: str, ledger: Ledger, market: Market) -> None:
    if symbol not in market.tape.symbols:
        raise errors.unprocessable(f'could not find asset "{symbol}"')
    if not market.is_listed(symbol, ledger.moment):
        raise errors.unprocessable(f'asset "{symbol}" is not active')


def check_free(ledger: Ledger, symbol: str, qty: Decimal, *, closes: bool, leaving_out: Order | None = None) -> None:
    """Refuse to close more than is held and not held back by open orders."""
    existing = abs(ledger.account.qty(symbol)) if closes else ZERO
    reserved = ledger.book.reserved(symbol, leaving_out=leaving_out)
    if qty > existing - reserved:
        raise errors.insufficient_quantity(
            symbol,
            requested=qty,
            existing=existing,
            held=reserved,
            holders=[order.id for order in ledger.book.closing(symbol) if order is not leaving_out],
        )


def check_buying_power(ledger: Ledger, market: Market, cost: Decimal, tick: Tick, *, freed: Decimal = ZERO) -> None:
    """Refuse an order that costs more than is left; `freed` is what a replaced order gives up."""
    ticks = {tick.symbol: tick, **ticks_of(market, ledger)}
    available = value(ledger.account, ledger.book, ticks).buying_power + freed
    if cost > available:
        raise errors.insufficient_buying_power(available=available, needed=cost)


def _check_exits(ticket: Ticket, tick: Tick) -> None:
    """Require a take-profit on the winning and a stop on the losing side of the base price."""
    if ticket.order_class is OrderClass.SIMPLE:
        return
    exit_side = ticket.side if ticket.order_class is OrderClass.OCO else ticket.side.opposite
    base = _base_price(ticket, tick)
    gain = exit_side.opposite.sign  # +1: the exits sell, so profit lies above
    word = {1: (">= base_price + 0.01", "<= base_price - 0.01")}
    above, below = word.get(gain, ("<= base_price - 0.01", ">= base_price + 0.01"))
    profit, stop = ticket.take_profit, ticket.stop_loss
    checks_profit = ticket.order_class is not OrderClass.OCO
    if checks_profit and profit is not None and (profit - base) * gain < CENT:
        raise errors.unprocessable(f"take_profit.limit_price must be {above}", base_price=str(base))
    if stop is None:
        return
    if (base - stop.stop_price) * gain < CENT:
        raise errors.unprocessable(f"stop_loss.stop_price must be {below}", base_price=str(base))
    if stop.limit_price is not None and (stop.stop_price - stop.limit_price) * gain < 0:
        raise errors.unprocessable("stop_loss.limit_price must not be better than its stop_price")


def _base_price(ticket: Ticket, tick: Tick) -> Decimal:
    if ticket.order_class is OrderClass.OCO and ticket.take_profit is not None:
        return ticket.take_profit
    return ticket.limit_price or ticket.stop_price or tick.trade


def _check_opening(ticket: Ticket, ledger: Ledger, market: Market, tick: Tick) -> None:
    opposite = ledger.book.first_opening(ticket.symbol, ticket.side.opposite)
    if opposite:
        # Alpaca lets limits rest that do not cross. Here no two opening orders may face each
        # other, which also keeps a position from ever turning around in one fill.
        raise errors.wash_trade(opposite.id)
    if ticket.side is Side.SELL:
        _check_shorting(ticket, ledger.account, ledger, market)
    limit, stop = ticket.limit_price, ticket.stop_price
    cost = opening_cost(ticket.side, ticket.type, ticket.qty, limit=limit, stop=stop, tick=tick)
    check_buying_power(ledger, market, cost, tick)


def _check_shorting(ticket: Ticket, account: Account, ledger: Ledger, market: Market) -> None:
    if not is_whole(ticket.qty):
        raise errors.unprocessable("fractional orders cannot be sold short")
    equity = value(account, ledger.book, ticks_of(market, ledger)).equity
    if account.settings.no_shorting or equity < SHORTING_EQUITY_USD_MIN:
        raise errors.forbidden("account is not allowed to short")


def _orders(ticket: Ticket, intent: Intent, ledger: Ledger) -> list[Order]:
    if ticket.order_class is OrderClass.OCO:
        first = _order(ticket, intent, ledger, limit=ticket.take_profit, stop=None)
        first.leg = Leg.TAKE_PROFIT
        return [first, *_legs(ticket, first, ledger, side=ticket.side, active=True)]
    first = _order(ticket, intent, ledger, limit=ticket.limit_price, stop=ticket.stop_price)
    return [first, *_legs(ticket, first, ledger, side=ticket.side.opposite, active=False)]


def _order(ticket: Ticket, intent: Intent, ledger: Ledger, *, limit: Decimal | None, stop: Decimal | None) -> Order:
    seq, order_id = ledger.new_id()
    at = ledger.stamp()
    return Order(
        id=order_id,
        seq=seq,
        client_order_id=ticket.client_order_id or str(uuid4()),
        symbol=ticket.symbol,
        side=ticket.side,
        type=ticket.type,
        time_in_force=ticket.time_in_force,
        order_class=ticket.order_class,
        intent=intent,
        qty=ticket.qty,
        status=Status.PENDING_NEW,
        submitted_at=at,
        updated_at=at,
        limit_price=limit,
        stop_price=stop,
        expires_at=at + GTC_LIFE if ticket.time_in_force is TimeInForce.GTC else None,
    )


def _legs(ticket: Ticket, first: Order, ledger: Ledger, *, side: Side, active: bool) -> list[Order]:
    legs: list[Order] = []
    if ticket.take_profit is not None and ticket.order_class is not OrderClass.OCO:
        leg = _leg(first, ledger, Leg.TAKE_PROFIT, side, OrderType.LIMIT)
        leg.limit_price, leg.active = ticket.take_profit, active
        legs.append(leg)
    if ticket.stop_loss is not None:
        leg = _leg(first, ledger, Leg.STOP_LOSS, side, _stop_type(ticket.stop_loss))
        leg.stop_price, leg.limit_price = ticket.stop_loss.stop_price, ticket.stop_loss.limit_price
        leg.active = active
        legs.append(leg)
    return legs


def _leg(first: Order, ledger: Ledger, leg: Leg, side: Side, kind: OrderType) -> Order:
    seq, order_id = ledger.new_id()
    at = ledger.stamp()
    return replace(
        first,
        id=order_id,
        seq=seq,
        client_order_id=str(uuid4()),
        side=side,
        type=kind,
        intent=Intent.of(side, closes=True),
        status=Status.HELD,
        submitted_at=at,
        updated_at=at,
        limit_price=None,
        stop_price=None,
        parent_id=first.id,
        leg=leg,
    )


def _stop_type(stop_loss: StopLoss) -> OrderType:
    return OrderType.STOP if stop_loss.limit_price is None else OrderType.STOP_LIMIT
