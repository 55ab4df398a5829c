"""May this account place this order now? Everything that can be refused is refused here."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from local.exchange.market.market import Market, Tick
from local.exchange.trading import errors
from local.exchange.trading.hours import takes_cls, takes_opg
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.margin import SHORTING_EQUITY_USD_MIN, opening_cost, value
from local.exchange.trading.numbers import CENT, ZERO, is_whole, truncated
from local.exchange.trading.order import Intent, Order, OrderClass, OrderType, Side, TimeInForce
from local.exchange.trading.quotes import tick_of, ticks_of
from local.exchange.trading.rules import CRYPTO_COST_USD_MIN, below_minimum, check_rules
from local.exchange.trading.ticket import Ticket


def check(ticket: Ticket, ledger: Ledger, market: Market) -> Intent:
    """Return what the ticket would do to the position.

    Raises
    ------
    Refusal if the account may not place it; nothing has changed then
    """
    check_rules(ticket)
    check_account(ledger)
    check_client_order_id(ticket.client_order_id, ledger)
    check_symbol(ticket.symbol, ledger, market)
    _check_asset(ticket, ledger)
    tick = tick_of(market, ledger, ticket.symbol)
    _check_auction(ticket, ledger)
    _check_exits(ticket, tick)
    held = ledger.account.qty(ticket.symbol)
    closes = held * ticket.side.sign < 0
    intent = Intent.of(ticket.side, closes=closes)
    if ticket.intent not in (None, intent):
        raise errors.unprocessable(f"position intent mismatch, inferred: {intent}, specified: {ticket.intent}")
    if closes and ticket.order_class in (OrderClass.BRACKET, OrderClass.OTO):
        raise errors.unprocessable(f"{ticket.order_class} orders must be entry orders")
    if ticket.is_crypto:
        _check_crypto(ticket, ledger, market, tick)
    elif closes or ticket.order_class is OrderClass.OCO:
        check_free(ledger, ticket.symbol, estimated_qty(ticket, tick), closes=closes)
    check_wash_trade(ticket, ledger)
    if not closes and not ticket.is_crypto:
        _check_opening(ticket, ledger, market, tick)
    return intent


def check_account(ledger: Ledger) -> None:
    """Refuse everything while the user, or Alpaca, has stopped the account."""
    if ledger.account.settings.suspend_trade:
        raise errors.forbidden("new orders are rejected by user request")
    if ledger.controls.account_blocked:
        raise errors.forbidden("account is blocked")
    if ledger.controls.trading_blocked:
        raise errors.forbidden("account is not allowed to trade")


def check_client_order_id(client_order_id: str | None, ledger: Ledger) -> None:
    """Refuse an id that any order, open or long ended, has already used."""
    if client_order_id and ledger.store.has_client_id(client_order_id):
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


def check_wash_trade(order: Ticket | Order, ledger: Ledger, *, leaving_out: Order | None = None) -> None:
    """Refuse an order that could trade with another of the same account.

    Orders of groups (Alpaca's message says to use them) and trailing stops are exempt, but no
    account may be about to open a long and a short position at once, whatever the orders.
    """
    opens = not ledger.account.qty(order.symbol) * order.side.sign < 0
    if not _is_judged(order):
        if opens and ledger.book.first_opening(order.symbol, order.side.opposite):
            raise errors.opens_both_ways(order.side)
        return
    for other in ledger.book.of_symbol(order.symbol):
        if other.side is order.side or other is leaving_out:
            continue
        if _is_judged(other) and _could_meet(order, other):
            raise _wash_trade(order, other)
        if opens and not other.intent.closes:
            raise errors.opens_both_ways(order.side)


def check_buying_power(
    ledger: Ledger, market: Market, order: Ticket | Order, cost: Decimal, *, freed: Decimal = ZERO
) -> None:
    """Refuse an order that costs more than is left; `freed` is what a replaced order gives up."""
    worth = value(ledger.account, ledger.book, ticks_of(market, ledger))
    if not order.is_crypto:
        available = worth.buying_power + freed
        if cost > available:
            raise errors.insufficient_buying_power(available=available, needed=cost)
        return
    # Crypto is bought with money that is there, not with margin.
    available = min(worth.buying_power_at(1), max(ZERO, worth.cash - worth.held)) + freed
    if cost > available:
        raise errors.insufficient_balance("USD", requested=cost, available=truncated(available))


def _is_judged(order: Ticket | Order) -> bool:
    return order.order_class is OrderClass.SIMPLE and order.type is not OrderType.TRAILING_STOP


def _could_meet(order: Ticket | Order, other: Order) -> bool:
    ours, theirs = order.limit_price, other.limit_price
    if ours is None or theirs is None:
        return True
    buy, sell = (ours, theirs) if order.side is Side.BUY else (theirs, ours)
    return buy >= sell


def _wash_trade(order: Ticket | Order, other: Order) -> errors.Refusal:
    ours, theirs = order.limit_price, other.limit_price
    if ours is None or theirs is None:
        return errors.wash_trade(other.id)
    buy, sell = (ours, theirs) if order.side is Side.BUY else (theirs, ours)
    return errors.wash_trade_limits(other.id, held_side=other.side, buy_limit=buy, sell_limit=sell)


def _check_asset(ticket: Ticket, ledger: Ledger) -> None:
    symbol, controls = ticket.symbol, ledger.controls
    if ticket.is_crypto or (ticket.notional is None and is_whole(ticket.qty)):
        return
    if symbol in controls.not_fractionable:
        raise errors.forbidden(f'asset "{symbol}" is not fractionable')
    if not ledger.account.settings.fractional_trading:
        raise errors.forbidden("account is not allowed to trade fractional shares")


def _check_auction(ticket: Ticket, ledger: Ledger) -> None:
    clock, calendar = ledger.clock, ledger.market.calendar
    if ticket.time_in_force is TimeInForce.OPG and not takes_opg(clock, calendar):
        raise errors.unprocessable("opg orders must be submitted after 7:00pm and before 9:28am")
    if ticket.time_in_force is TimeInForce.CLS and not takes_cls(clock, calendar):
        raise errors.unprocessable("cls orders must be submitted after 7:00pm and before 3:50pm")


def _check_crypto(ticket: Ticket, ledger: Ledger, market: Market, tick: Tick) -> None:
    cost = opening_cost(ticket, tick)
    if cost < CRYPTO_COST_USD_MIN:
        raise below_minimum(CRYPTO_COST_USD_MIN)
    if ticket.side is Side.BUY:
        check_buying_power(ledger, market, ticket, cost)
        return
    wanted = estimated_qty(ticket, tick)
    free = ledger.account.qty(ticket.symbol) - ledger.book.reserved(ticket.symbol)
    if wanted > free:
        coin = ticket.symbol.partition("/")[0]
        raise errors.insufficient_balance(coin, requested=wanted, available=free)


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
    if ticket.side is Side.SELL:
        _check_shorting(ticket, ledger, market)
    check_buying_power(ledger, market, ticket, opening_cost(_counted(ticket, tick), tick, ledger.phase))


def _counted(ticket: Ticket, tick: Tick) -> Ticket:
    """Return a short sale in dollars as one in shares, whose cost has a margin on top."""
    if ticket.notional is None or ticket.side is Side.BUY:
        return ticket
    return replace(ticket, notional=None, qty=estimated_qty(ticket, tick))


def _check_shorting(ticket: Ticket, ledger: Ledger, market: Market) -> None:
    symbol, controls = ticket.symbol, ledger.controls
    if ticket.notional is not None or not is_whole(ticket.qty):
        raise errors.unprocessable("fractional orders cannot be sold short")
    equity = value(ledger.account, ledger.book, ticks_of(market, ledger)).equity
    forbidden = ledger.account.settings.no_shorting or controls.shorting_disabled
    if forbidden or equity < SHORTING_EQUITY_USD_MIN:
        raise errors.forbidden("account is not allowed to short")
    if symbol in controls.not_shortable:
        raise errors.unprocessable(f'asset "{symbol}" cannot be sold short')
    if symbol in controls.hard_to_borrow and ticket.time_in_force is not TimeInForce.DAY:
        raise errors.forbidden(f"only day orders are allowed for hard-to-borrow asset {symbol}")


def estimated_qty(ticket: Ticket, tick: Tick) -> Decimal:
    """Return the quantity of a ticket; one in dollars is counted at the present price."""
    if ticket.notional is None:
        return ticket.qty
    price = ticket.limit_price or ticket.stop_price or (tick.ask if ticket.side is Side.BUY else tick.bid)
    return truncated(ticket.notional / price)
