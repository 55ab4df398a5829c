"""Replacing an order: the old one ends as `replaced`, a new one takes its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from local.exchange.market.market import Market
from local.exchange.trading import errors
from local.exchange.trading.admission import (
    check_buying_power,
    check_client_order_id,
    check_free,
    check_wash_trade,
)
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.margin import opening_cost, rest_cost
from local.exchange.trading.numbers import ZERO, is_whole
from local.exchange.trading.order import Order, OrderType, Status, TimeInForce
from local.exchange.trading.quotes import tick_of
from local.exchange.trading.rules import check_time_in_force
from local.exchange.trading.submission import expiry, route
from local.exchange.trading.ticket import (
    read_client_order_id,
    read_price,
    read_qty,
    read_time_in_force,
)

_REPLACEABLE = (Status.NEW, Status.PARTIALLY_FILLED, Status.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What a client wants changed; None leaves a field as it is."""

    qty: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail: Decimal | None
    time_in_force: TimeInForce | None
    client_order_id: str | None


def read_amendment(body: Mapping[str, Any], *, crypto: bool = False) -> Amendment:
    """Return the changes that the body of a PATCH asks for; raise Refusal if malformed."""
    tif = body.get("time_in_force")
    return Amendment(
        qty=None if body.get("qty") is None else read_qty(body),
        limit_price=read_price(body, "limit_price", crypto=crypto),
        stop_price=read_price(body, "stop_price", crypto=crypto),
        trail=read_price(body, "trail"),
        time_in_force=read_time_in_force(body, TimeInForce.DAY) if tif else None,
        client_order_id=read_client_order_id(body),
    )


def amend(old: Order, amendment: Amendment, ledger: Ledger, market: Market) -> Order:
    """Return the order that would take the place of `old`, not yet placed.

    The new quantity is what is left to trade: the wanted total less what `old` has filled.

    Raises
    ------
    Refusal if `old` cannot be replaced or the account may not place the new order
    """
    _check_replaceable(old, amendment)
    check_client_order_id(amendment.client_order_id, ledger)
    qty = (amendment.qty or old.qty) - old.filled_qty
    if qty <= ZERO:
        raise errors.unprocessable("qty must be greater than the filled qty")
    new = replace(
        old,
        client_order_id=amendment.client_order_id or "",
        qty=qty,
        filled_qty=ZERO,
        filled_value=ZERO,
        limit_price=amendment.limit_price or old.limit_price,
        stop_price=amendment.stop_price or old.stop_price,
        time_in_force=amendment.time_in_force or old.time_in_force,
        trail_price=amendment.trail if old.trail_price is not None and amendment.trail else old.trail_price,
        trail_percent=amendment.trail if old.trail_percent is not None and amendment.trail else old.trail_percent,
        replaces=old.id,
        replaced_by=None,
    )
    if amendment.trail is not None and new.hwm is not None:
        new.stop_price = new.trail_from(new.hwm)
    check_time_in_force(new)
    check_wash_trade(new, ledger, leaving_out=old)
    _check_funds(old, new, ledger, market)
    return new


def swap(old: Order, new: Order, ledger: Ledger) -> Order:
    """End `old`, place `new`, and return it as Alpaca's answer shows it."""
    legs = ledger.book.others_of_group(old) if old.parent_id is None else []
    _name(old, new, ledger)
    was_held = old.status is Status.HELD
    ledger.move(old, Status.REPLACED)
    _date(new, ledger)
    new.status = Status.HELD if was_held else Status.PENDING_NEW
    ledger.add(new)
    for leg in legs:
        if not leg.active:
            leg.qty = new.qty
        ledger.regroup(leg, new.id)
    answer = replace(new)
    if not was_held:
        route(new, ledger)
    return answer


def swap_later(old: Order, new: Order, ledger: Ledger, due: int) -> Order:
    """Let `new` wait `due` ticks for `old`, which may fill meanwhile; return `new` as answered."""
    _name(old, new, ledger)
    old.due = due
    ledger.move(old, Status.PENDING_REPLACE)
    _date(new, ledger)
    new.status, new.active, new.awaits = Status.PENDING_NEW, False, old.id
    ledger.add(new)
    return replace(new)


def _name(old: Order, new: Order, ledger: Ledger) -> None:
    new.seq, new.id = ledger.new_id()
    new.client_order_id = new.client_order_id or ledger.derived_id(f"client/{new.seq}")
    old.replaced_by = new.id


def _date(new: Order, ledger: Ledger) -> None:
    new.submitted_at = new.updated_at = ledger.stamp()
    new.expires_at = expiry(new.time_in_force, new.submitted_at)


def _check_replaceable(old: Order, amendment: Amendment) -> None:
    if not old.is_open:
        raise errors.already(old.status)
    if old.status not in _REPLACEABLE or not old.active:
        raise errors.unprocessable(f"cannot replace order in {old.status} status")
    if old.notional is not None:
        raise errors.unprocessable("notional orders cannot be replaced")
    fractional = not is_whole(old.qty) or not is_whole(amendment.qty or old.qty)
    if fractional and not old.is_crypto and amendment.qty not in (None, old.qty):
        raise errors.unprocessable("qty of a fractional order cannot be replaced")
    _check_fields(old, amendment)


def _check_fields(old: Order, amendment: Amendment) -> None:
    applies = {
        "limit_price": old.type.has_limit,
        "stop_price": old.type.has_stop,
        "trail": old.type is OrderType.TRAILING_STOP,
    }
    for field, is_there in applies.items():
        if getattr(amendment, field) is not None and not is_there:
            raise errors.unprocessable(f"{old.type} orders must not have {field}")


def _check_funds(old: Order, new: Order, ledger: Ledger, market: Market) -> None:
    if new.intent.closes:
        group = ledger.book.others_of_group(old) if old.is_exit_of_group else []
        rest = max((order.remaining for order in group if order.active), default=ZERO)
        # The other exit of a pair reserves the same shares, so a pair can only shrink or stay.
        if rest and new.qty > rest:
            raise errors.unprocessable("qty of one exit must not exceed the other's")
        if not rest:
            check_free(ledger, new.symbol, new.qty, closes=True, leaving_out=old)
        return
    tick = tick_of(market, ledger, new.symbol)
    cost = opening_cost(new, tick, ledger.phase)
    check_buying_power(ledger, market, new, cost, freed=rest_cost(old, tick))
