"""Replacing an order: the old one ends as `replaced`, a new one takes its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

from local.exchange.market.market import Market
from local.exchange.trading import errors
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.margin import opening_cost
from local.exchange.trading.numbers import ZERO, is_whole
from local.exchange.trading.order import Order, Status, TimeInForce
from local.exchange.trading.submission import (
    GTC_LIFE,
    check_buying_power,
    check_client_order_id,
    check_free,
    route,
)
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
    time_in_force: TimeInForce | None
    client_order_id: str | None


def read_amendment(body: Mapping[str, Any]) -> Amendment:
    """Return the changes that the body of a PATCH asks for; raise Refusal if malformed."""
    if body.get("trail"):
        raise errors.not_simulated("trail")
    tif = body.get("time_in_force")
    return Amendment(
        qty=None if body.get("qty") is None else read_qty(body),
        limit_price=read_price(body, "limit_price"),
        stop_price=read_price(body, "stop_price"),
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
        client_order_id=amendment.client_order_id or str(uuid4()),
        qty=qty,
        filled_qty=ZERO,
        filled_value=ZERO,
        limit_price=amendment.limit_price or old.limit_price,
        stop_price=amendment.stop_price or old.stop_price,
        time_in_force=amendment.time_in_force or old.time_in_force,
        replaces=old.id,
        replaced_by=None,
    )
    _check_funds(old, new, ledger, market)
    return new


def swap(old: Order, new: Order, ledger: Ledger) -> Order:
    """End `old`, place `new`, and return it as Alpaca's answer shows it."""
    legs = ledger.book.others_of_group(old) if old.parent_id is None else []
    new.seq, new.id = ledger.new_id()
    old.replaced_by = new.id
    was_held = old.status is Status.HELD
    ledger.move(old, Status.REPLACED)
    new.submitted_at = new.updated_at = ledger.stamp()
    gtc = new.time_in_force is TimeInForce.GTC
    new.expires_at = new.submitted_at + GTC_LIFE if gtc else None
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


def _check_replaceable(old: Order, amendment: Amendment) -> None:
    if not old.is_open:
        raise errors.unprocessable(f'order is already in "{old.status}" state')
    if old.status not in _REPLACEABLE or not old.active:
        raise errors.unprocessable(f"cannot replace order in {old.status} status")
    fractional = not is_whole(old.qty) or not is_whole(amendment.qty or old.qty)
    if fractional and amendment.qty not in (None, old.qty):
        raise errors.unprocessable("qty of a fractional order cannot be replaced")
    for field, applies in (("limit_price", old.type.has_limit), ("stop_price", old.type.has_stop)):
        if getattr(amendment, field) is not None and not applies:
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
    tick = market.tick(new.symbol, ledger.moment)
    freed, cost = (
        opening_cost(
            order.side,
            order.type,
            order.remaining,
            limit=order.limit_price,
            stop=order.stop_price,
            tick=tick,
        )
        for order in (old, new)
    )
    check_buying_power(ledger, market, cost, tick, freed=freed)
