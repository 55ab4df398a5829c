from decimal import Decimal

import pytest

from engine.domain.book import OpenTrade, OrderState, Purpose
from engine.domain.exits import Care, blocking_legs, protected_qty, watch_trade
from tests.unit.engine.builders import a_leg, a_quote, a_trade, an_order, protected_trade

NAKED = a_trade()
HALF = a_trade(a_leg(Purpose.STOP_LOSS, qty=Decimal(4)), a_leg(Purpose.TAKE_PROFIT))
TRIGGERED = a_trade(a_leg(Purpose.STOP_LOSS, broker_status="new"))


@pytest.mark.parametrize(
    ("trade", "price", "care"),
    [
        (protected_trade(), "100", Care.NOTHING),
        (protected_trade(), "89.5", Care.NOTHING),  # the resting stop acts on trades, give it room
        (protected_trade(), "80", Care.SUSPECT),  # it should have acted
        (TRIGGERED, "80", Care.NOTHING),  # it is acting
        (protected_trade(), "125", Care.NOTHING),  # the target rests at the broker
        (NAKED, "100", Care.PROTECT),
        (HALF, "100", Care.PROTECT),
        (NAKED, "90", Care.CLOSE),
        (NAKED, "120", Care.CLOSE),
        (a_trade(exit_working=True), "80", Care.NOTHING),  # already on its way out
        (a_trade(stop_price=None, take_profit_price=None), "1", Care.NOTHING),  # nothing was planned
    ],
)
def test_a_position_is_cared_for_when_the_broker_does_not(trade: OpenTrade, price: str, care: Care) -> None:
    assert watch_trade(trade, a_quote(price), entry_is_open=False).care is care


def test_a_short_position_is_closed_when_the_price_rises_through_its_stop() -> None:
    short = a_trade(side="short", stop_price=Decimal(110), take_profit_price=Decimal(80))

    watch = watch_trade(short, a_quote("111"), entry_is_open=False)

    assert (watch.care, watch.exit_reason) == (Care.CLOSE, "stop_loss")


def test_legs_do_not_count_as_protection_when_the_entry_still_fills() -> None:
    watch = watch_trade(protected_trade(), a_quote("100"), entry_is_open=True)

    assert watch.protected_qty == 0
    assert watch.care is Care.NOTHING


def test_held_stops_count_when_protection_is_summed_up() -> None:
    assert protected_qty(protected_trade()) == 10
    assert protected_qty(HALF) == 4


def test_only_orders_at_the_broker_block_when_an_exit_wants_the_shares() -> None:
    own_exit = an_order(id="exit", purpose=Purpose.EXIT)
    waiting = a_leg(Purpose.STOP_LOSS, id="new stop", state=OrderState.READY)
    trade = a_trade(a_leg(Purpose.STOP_LOSS), a_leg(Purpose.TAKE_PROFIT), waiting, own_exit)

    assert [leg.purpose for leg in blocking_legs(trade, own_exit)] == [Purpose.STOP_LOSS, Purpose.TAKE_PROFIT]
