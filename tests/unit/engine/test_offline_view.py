from dataclasses import replace
from decimal import Decimal

import pytest

from engine.domain.book import OrderState, Purpose
from engine.domain.broker_types import BrokerPosition
from engine.domain.coverage import protected_qty
from engine.domain.journal import OfflineExit
from engine.domain.offline import Seen, free_qty, gaps, offline_order, offline_view
from tests.unit.engine.builders import NOON, a_leg, a_snapshot, a_trade, an_order, at_broker, protected_trade

TEN, FOUR = Decimal(10), Decimal(4)
STOP, TARGET = a_leg(Purpose.STOP_LOSS), a_leg(Purpose.TAKE_PROFIT)
HELD = [BrokerPosition("AAPL", TEN)]
TRADE = protected_trade()
BOOKS = a_snapshot(trades=(TRADE,), orders=TRADE.legs)


def view(*, books=BOOKS, open_orders=(), found=(), positions=HELD):
    return offline_view(books, Seen(open_orders, found, positions), [])


def test_nothing_changes_when_the_broker_shows_what_the_books_say():
    assert view(open_orders=[at_broker(TARGET)]) == BOOKS  # a held stop is in no list


def test_a_position_counts_as_naked_when_its_legs_are_gone():
    gone = [at_broker(leg, status="canceled") for leg in TRADE.legs]

    (trade,) = view(found=gone).trades

    assert (trade.legs, protected_qty(trade)) == ((), 0)


def test_what_a_stop_has_sold_is_no_longer_held():
    partly = at_broker(STOP, status="partially_filled", filled_qty=FOUR)

    (trade,) = view(open_orders=[partly, at_broker(TARGET)], positions=[BrokerPosition("AAPL", TEN - FOUR)]).trades

    assert trade.qty == TEN - FOUR


def test_a_trade_is_over_when_the_account_holds_nothing_or_the_other_side():
    assert view(open_orders=[at_broker(TARGET)], positions=[]).trades == ()
    assert view(open_orders=[at_broker(TARGET)], positions=[BrokerPosition("AAPL", -TEN)]).trades == ()


def test_an_entry_that_filled_meanwhile_is_a_trade_with_the_legs_that_the_broker_made():
    entry = an_order(stop_loss_price=Decimal(90), take_profit_price=Decimal(120))
    legs = (
        at_broker(STOP, type="stop", status="new", stop_price=Decimal(90)),
        at_broker(TARGET, type="limit", limit_price=Decimal(120)),
    )
    filled = at_broker(entry, status="filled", filled_qty=TEN, filled_avg_price=Decimal(100), legs=legs)

    seen = view(books=a_snapshot(orders=(entry,)), found=[filled])

    (trade,) = seen.trades
    assert (trade.trade_id, trade.qty, trade.side, trade.stop_price) == ("entry", TEN, "long", Decimal(90))
    assert [leg.purpose for leg in trade.legs] == [Purpose.STOP_LOSS, Purpose.TAKE_PROFIT]
    assert protected_qty(trade) == TEN
    assert seen.orders == ()


def test_an_entry_that_filled_further_makes_its_trade_larger():
    entry = an_order(filled_qty=FOUR, state=OrderState.PARTIALLY_FILLED)
    books = a_snapshot(trades=(a_trade(qty=FOUR),), orders=(entry,))

    (trade,) = view(books=books, found=[at_broker(entry, status="filled", filled_qty=TEN)]).trades

    assert trade.qty == TEN


def test_an_order_without_an_answer_is_at_the_broker_when_it_is_found_there_by_our_id():
    unknown = an_order(state=OrderState.UNKNOWN, broker_order_id=None)

    (order,) = view(books=a_snapshot(orders=(unknown,)), open_orders=[at_broker(unknown)]).orders

    assert (order.state, order.broker_order_id) == (OrderState.WORKING, "broker-entry")


def test_shares_that_others_are_selling_are_not_free():
    other = at_broker(replace(STOP, id="other", broker_order_id="b-other"), qty=FOUR, status="new")
    seen = Seen([other, at_broker(TARGET)], [], HELD)

    assert free_qty(TRADE, seen, [], []) == TEN - FOUR
    assert free_qty(TRADE, seen, ["other"], []) == TEN


def test_gaps_are_counted_over_all_trades_of_a_symbol():
    books = a_snapshot(trades=(a_trade(), a_trade(trade_id="b", side="short", qty=FOUR)))

    assert gaps(books, [BrokerPosition("AAPL", TEN - FOUR)]) == {}
    assert gaps(books, HELD) == {"AAPL": -FOUR}


@pytest.mark.parametrize(
    ("qty", "order_type", "time_in_force"),
    [("10", "stop", "gtc"), ("10", "market", "day"), ("2.5", "stop", "day"), ("0.000000001", "stop", "day")],
)
def test_a_stop_for_a_part_of_a_share_is_for_the_day_as_the_broker_takes_it(qty, order_type, time_in_force):
    exit_ = OfflineExit(
        id="e1", trade_id="t1", symbol="AAPL", side="sell", purpose=Purpose.STOP_LOSS, qty=Decimal(qty),
        order_type=order_type, stop_price=Decimal(95), exit_reason="stop_loss", reason="No stop rests", market_at=NOON,
    )  # fmt: skip

    assert offline_order(exit_, profile_id="p1").time_in_force == time_in_force
