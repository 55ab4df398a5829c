"""Which two orders of one account are a potential wash trade: Alpaca's table of user protections."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local.exchange.trading.errors import Refusal
from local.exchange.trading.exchange import Exchange

# The market is about 86 dollars; each kind of order with its price in the field that it has.
KINDS: dict[str, tuple[str, ...]] = {
    "market": (),
    "limit": ("limit_price",),
    "stop": ("stop_price",),
    "stop_limit": ("stop_price", "limit_price"),
}
HAVE_LIMITS = {"limit", "stop_limit"}


def order(kind: str, side: str, price: str) -> dict[str, object]:
    body = {"symbol": "AAPL", "side": side, "qty": "1", "type": kind, "time_in_force": "day"}
    return body | dict.fromkeys(KINDS[kind], price)


@pytest.mark.parametrize("resting", KINDS)
@pytest.mark.parametrize("first", ["buy", "sell"])
def test_opposite_orders_are_refused_unless_their_limits_lie_apart(
    found: Callable[..., Exchange], resting: str, first: str
) -> None:
    exchange = found()
    exchange.step_to_open()
    exchange.submit(order("market", "buy", "") | {"qty": "10"})
    exchange.step()
    second = {"buy": "sell", "sell": "buy"}[first]
    for sent in KINDS:
        for buy_price, sell_price in (("80", "90"), ("90", "80"), ("85", "85")):
            prices = {"buy": buy_price, "sell": sell_price}
            exchange.submit(order(resting, first, prices[first]))
            apart = {resting, sent} <= HAVE_LIMITS and buy_price < sell_price

            refusal = None
            try:
                exchange.submit(order(sent, second, prices[second]))
            except Refusal as no:
                refusal = str(no)

            expected = None if apart else "potential wash trade detected. use complex orders"
            assert refusal == expected, (resting, sent, prices)
            exchange.cancel_all()
