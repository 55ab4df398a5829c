"""How an account is connected to the stream and to the faults."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from functools import partial

from aiohttp import web

from local.exchange.http.faults import FaultSwitch, Kind
from local.exchange.http.keys import FAULTS, LAG, LISTENERS
from local.exchange.trading.accounts import Member
from local.exchange.trading.order import Order


def welcome(app: web.Application, member: Member) -> None:
    """Connect an account's ledger to what listens to it, and to the faults."""
    app[LISTENERS].watch(member)
    app[LAG].watch(member.exchange)
    member.exchange.throttle = partial(throttled, app[FAULTS])


def throttled(faults: FaultSwitch, order: Order, qty: Decimal) -> Decimal | None:
    """Return how much of a fill a `partial_fill` lets through, or None where none is armed."""
    if not faults.armed or qty <= 1:
        return None
    fault = faults.take(Kind.PARTIAL_FILL, symbol=order.symbol)
    if fault is None:
        return None
    return max(Decimal(1), (qty * Decimal(str(fault.options.get("fraction", "0.5")))).to_integral_value(ROUND_DOWN))
