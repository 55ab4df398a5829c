"""What one tick does to one order."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from local.exchange.market.calendar import Moment
from local.exchange.market.market import Tick
from local.exchange.trading.hours import Clock
from local.exchange.trading.matching import Conditions, FillProfile, fill_price, reaches_stop
from local.exchange.trading.order import Intent, Order, OrderClass, OrderType, Side, Status, TimeInForce
from local.exchange.trading.waiting import waiting_for

NOON = datetime(2007, 1, 3, 17, tzinfo=UTC)
# The last trade was at 10.00, the quote is 9.98 to 10.02.
TICK = Tick("AAPL", NOON, *map(Decimal, ("10.00", "9.98", "10.02")), bid_size=100, ask_size=100, size=100)
NOW = Conditions(FillProfile.IDEAL, 7, Clock(Moment(1, 1)), TICK, Decimal(1000))


def order(side: str, kind: str, limit: str | None = None, stop: str | None = None) -> Order:
    return Order(
        id="1",
        seq=1,
        client_order_id="1",
        symbol="AAPL",
        side=Side(side),
        type=OrderType(kind),
        time_in_force=TimeInForce.DAY,
        order_class=OrderClass.SIMPLE,
        intent=Intent.of(Side(side), closes=side == "sell"),
        qty=Decimal(10),
        status=Status.NEW,
        submitted_at=NOON,
        updated_at=NOON,
        limit_price=None if limit is None else Decimal(limit),
        stop_price=None if stop is None else Decimal(stop),
    )


@pytest.mark.parametrize(
    ("side", "kind", "limit", "price"),
    [
        ("buy", "market", None, "10.02"),  # takes the ask
        ("sell", "market", None, "9.98"),  # takes the bid
        ("buy", "limit", "10.02", "10.02"),  # at the ask
        ("buy", "limit", "11", "10.02"),  # through it, and gets the better price
        ("buy", "limit", "10.01", None),  # inside the spread: rests
        ("sell", "limit", "9.98", "9.98"),
        ("sell", "limit", "9", "9.98"),
        ("sell", "limit", "9.99", None),
    ],
)
def test_order_trades_at_the_quote_when_its_limit_allows(
    side: str, kind: str, limit: str | None, price: str | None
) -> None:
    sent = order(side, kind, limit)

    assert fill_price(sent, NOW) == (None if price is None else Decimal(price))
    assert waiting_for([sent]).is_over(TICK) is (price is not None)


@pytest.mark.parametrize(
    ("side", "stop", "reached"),
    [
        ("sell", "10.00", True),  # the trade touches it
        ("sell", "10.01", True),  # the trade gapped through it
        ("sell", "9.99", False),  # the bid alone does not set it off
        ("buy", "10.00", True),
        ("buy", "9.99", True),
        ("buy", "10.01", False),
    ],
)
def test_stop_is_set_off_when_the_trade_reaches_it(side: str, stop: str, reached: bool) -> None:
    sent = order(side, "stop", stop=stop)

    assert reaches_stop(sent, TICK) is reached
    assert fill_price(sent, NOW) is None  # not before it is triggered
    assert waiting_for([sent]).is_over(TICK) is reached


def test_order_never_acts_when_it_is_not_active() -> None:
    sent = order("buy", "market")
    sent.active = False

    assert not waiting_for([sent]).is_over(TICK)
