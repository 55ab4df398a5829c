"""Syncing and reconciling: what was taken over is no news, and doing it twice is doing it once."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.book import Order, OrderState
from engine.domain.broker_types import BrokerOrder, BrokerPosition
from engine.domain.reconcile import compare_positions, held_by
from engine.domain.sync import plan_sync
from tests.unit.engine.builders import a_snapshot, a_trade, an_order, at_broker

QTY = st.integers(1, 500).map(Decimal)
SYMBOLS = st.sampled_from(["AAPL", "IBM", "GOOG"])
STATUSES = st.sampled_from(["new", "accepted", "pending_new", "partially_filled", "pending_cancel", "never_heard_of"])
TRADES = st.lists(st.builds(a_trade, symbol=SYMBOLS, qty=QTY, side=st.sampled_from(["long", "short"])), max_size=6).map(
    tuple
)
POSITIONS = st.dictionaries(SYMBOLS, st.integers(-500, 500).map(Decimal)).map(
    lambda held: [BrokerPosition(symbol, qty) for symbol, qty in held.items()]
)


@st.composite
def both_sides(draw: st.DrawFn) -> tuple[list[Order], list[BrokerOrder]]:
    """Draw our working orders, and what the broker says about some of them."""
    ours = [an_order(id=f"o{n}", broker_status=draw(STATUSES)) for n in range(draw(st.integers(0, 6)))]
    listed = [order for order in ours if draw(st.booleans())]
    theirs = [at_broker(o, status=draw(STATUSES), filled_qty=Decimal(draw(st.integers(0, 9)))) for o in listed]
    return ours, theirs


@given(both_sides())
def test_nothing_is_news_once_it_was_taken_over(sides: tuple[list[Order], list[BrokerOrder]]) -> None:
    ours, theirs = sides
    plan = plan_sync(ours, theirs)
    told = {order.client_order_id: order for order in plan.updates}

    after = [
        replace(o, broker_status=told[o.id].status, filled_qty=told[o.id].filled_qty) if o.id in told else o
        for o in ours
        if o.broker_order_id not in plan.lookups
    ]

    again = plan_sync(after, theirs)
    assert again.updates == again.lookups == ()


@given(both_sides())
def test_every_working_order_is_either_listed_or_looked_up(sides: tuple[list[Order], list[BrokerOrder]]) -> None:
    ours, theirs = sides
    listed = {order.broker_order_id for order in theirs}

    lookups = set(plan_sync(ours, theirs).lookups)

    assert {o.broker_order_id for o in ours if o.state is OrderState.WORKING} == listed | lookups


@given(TRADES, POSITIONS)
def test_comparing_positions_twice_says_the_same(trades: tuple, positions: list[BrokerPosition]) -> None:
    snapshot = a_snapshot(trades=trades)

    first = compare_positions(held_by(snapshot), positions)

    assert compare_positions(held_by(snapshot), positions) == first
    assert len({finding.key for finding in first}) == len(first)


@given(TRADES, POSITIONS)
def test_no_difference_is_found_when_the_broker_holds_what_our_trades_say(
    trades: tuple, positions: list[BrokerPosition]
) -> None:
    ours = a_snapshot(trades=trades)
    held = {
        symbol: sum(t.qty if t.is_long else -t.qty for t in trades if t.symbol == symbol)
        for symbol in ("AAPL", "IBM", "GOOG")
    }
    agreeing = [BrokerPosition(symbol, Decimal(qty)) for symbol, qty in held.items()]

    assert compare_positions(held_by(ours), agreeing) == []
