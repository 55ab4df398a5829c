"""What always holds when open trades are looked after, whatever happens to their orders and prices."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.domain.book import OpenTrade, Order, OrderState, Purpose
from engine.domain.broker_types import MarketTime, Quote
from engine.domain.coverage import planned_qty, protected_qty, reserved_qty
from engine.domain.exit_rules import ExitRules, tick
from engine.domain.exits import Care, Look, Watch, watch_trade
from tests.unit.engine.builders import NOON, a_leg, a_trade, an_order

quick = settings(deadline=None, suppress_health_check=list(HealthCheck))
OPEN_STATES = [
    OrderState.READY,
    OrderState.SUBMITTING,
    OrderState.UNKNOWN,
    OrderState.WORKING,
    OrderState.PARTIALLY_FILLED,
]
quantities = st.integers(1, 20).map(Decimal)
prices = st.decimals("0.5", 500, places=2)
sides = st.sampled_from(["long", "short"])
fractions = st.sampled_from([Decimal("0.01"), Decimal("0.05"), Decimal("0.3")])
rules = st.builds(
    ExitRules,
    stop_loss_pct=st.none() | fractions,
    take_profit_pct=st.none() | fractions,
    trailing_stop_pct=st.none() | fractions,
    trailing_activation_pct=st.sampled_from([Decimal(0), Decimal("0.02")]),
    bars_held_max=st.none() | st.integers(1, 5),
    days_held_max=st.none() | st.integers(1, 5),
)


@st.composite
def legs(draw: st.DrawFn) -> tuple[Order, ...]:
    """Draw protective orders in any state: brackets, own stops, replacements, half filled, half cancelled."""
    drawn = []
    for number in range(draw(st.integers(0, 3))):
        qty = draw(quantities)
        leg = a_leg(
            draw(st.sampled_from([Purpose.STOP_LOSS, Purpose.TAKE_PROFIT])),
            id=f"leg-{number}",
            qty=qty,
            filled_qty=draw(st.integers(0, int(qty) - 1).map(Decimal)),
            parent_id=draw(st.sampled_from(["entry", None])),
            state=draw(st.sampled_from(OPEN_STATES)),
            stop_price=draw(st.none() | prices),
            cancel_requested_at=draw(st.sampled_from([None, None, NOON])),
            replaces_broker_id=draw(st.sampled_from([None, None, "broker-leg-0", "gone"])),
            broker_status=draw(st.sampled_from(["held", "new"])),
        )
        drawn.append(leg)
    return tuple(drawn)


trades = st.builds(
    lambda legs, **changes: a_trade(*legs, **changes),
    legs(),
    side=sides,
    qty=quantities,
    stop_price=st.none() | prices,
    take_profit_price=st.none() | prices,
    avg_entry_price=st.none() | prices,
    opened_at=st.none() | st.integers(0, 10).map(lambda days: NOON - timedelta(days=days)),
    exit_working=st.sampled_from([False] * 5 + [True]),
)
quotes = st.none() | prices.map(lambda price: Quote("AAPL", price, price + Decimal("0.01"), NOON))
markets = st.sampled_from([MarketTime(NOON, is_open=True)] * 3 + [MarketTime(NOON, is_open=False)])
entries = st.sampled_from([None] * 4 + [an_order(state=OrderState.PARTIALLY_FILLED)])
looks = st.builds(
    Look, market=markets, quote=quotes, rules=rules, timeframe=st.sampled_from(["1Hour", "1Day"]), entry=entries,
    entry_seen_s=st.integers(0, 3),
)  # fmt: skip


@quick
@given(trade=trades, look=looks)
def test_every_decision_has_a_reason_and_what_it_needs_to_be_carried_out(trade: OpenTrade, look: Look) -> None:
    watch = watch_trade(trade, look)

    assert watch.reason
    assert bool(watch.exit_reason) is (watch.care in (Care.CLOSE, Care.SUSPECT, Care.PROTECT, Care.MOVE_STOP))
    assert (watch.leg is not None) is (watch.care in (Care.DROP, Care.MOVE_STOP))
    if watch.care in (Care.PROTECT, Care.MOVE_STOP):
        assert watch.stop_price is not None and watch.stop_price > 0


@quick
@given(trade=trades, look=looks)
def test_coverage_never_exceeds_the_position(trade: OpenTrade, look: Look) -> None:
    watch = watch_trade(trade, look)

    assert 0 <= watch.protected_qty <= trade.qty
    if watch.care is Care.PROTECT:
        # What is asked for makes it whole, and beside the targets it sells nothing twice.
        assert planned_qty(trade) + watch.uncovered_qty == trade.qty
        assert reserved_qty(trade) + watch.uncovered_qty <= trade.qty


@quick
@given(trade=trades, look=looks)
def test_nothing_is_judged_by_price_without_a_quote_or_outside_regular_hours(trade: OpenTrade, look: Look) -> None:
    blind = replace(look, quote=None, rules=ExitRules())
    closed = replace(look, market=MarketTime(NOON, is_open=False))

    for look in (blind, closed):
        watch = watch_trade(trade, look)
        assert watch.care not in (Care.CLOSE, Care.SUSPECT, Care.MOVE_STOP)


@quick
@given(trade=trades, rules=rules, path=st.lists(prices, min_size=1, max_size=10), flickers=st.sets(st.integers(0, 9)))
def test_a_trailing_stop_never_loosens(
    trade: OpenTrade, rules: ExitRules, path: list[Decimal], flickers: set[int]
) -> None:
    """Each look starts from what the last one left in the database, as after a restart."""
    for number, price in enumerate(path):
        market = MarketTime(NOON, is_open=number not in flickers)
        quote = Quote("AAPL", price, price, NOON)
        stop = watch_trade(trade, Look(market=market, quote=quote, rules=rules)).stop_price
        if trade.stop_price is not None:
            assert stop is not None
            assert stop >= trade.stop_price if trade.is_long else stop <= trade.stop_price
        trade = replace(trade, stop_price=stop)


@quick
@given(price=prices, down=st.booleans())
def test_a_rounded_price_is_never_on_the_wrong_side(price: Decimal, down: bool) -> None:
    rounded = tick(price / 3, down=down)

    assert rounded > 0
    assert rounded <= price / 3 if down else rounded >= price / 3


@quick
@given(data=st.data(), trade=trades, rules=rules)
def test_looking_again_and_again_ends_with_exactly_one_stop_for_every_share(
    data: st.DataObject, trade: OpenTrade, rules: ExitRules
) -> None:
    trade = replace(
        trade, exit_working=False, stop_price=Decimal(50), take_profit_price=None, avg_entry_price=Decimal(100)
    )
    price = Quote("AAPL", Decimal(100), Decimal(100), NOON)
    if not trade.is_long:
        trade = replace(trade, stop_price=Decimal(200))
    rules = rules.model_copy(update={"bars_held_max": None, "days_held_max": None, "trailing_stop_pct": None})
    look = Look(market=MarketTime(NOON, is_open=data.draw(st.booleans())), quote=price, rules=rules)
    trade = replace(trade, take_profit_price=Decimal(10_000) if trade.is_long else Decimal("0.01"))

    for number in range(8):
        trade = _settled(_carried_out(trade, watch_trade(trade, look), number))

    assert protected_qty(trade) == planned_qty(trade) == trade.qty
    assert watch_trade(trade, look).care is Care.NOTHING


def _carried_out(trade: OpenTrade, watch: Watch, number: int) -> OpenTrade:
    """Do what a look asks for: a dropped leg takes its bracket with it, as at the broker."""
    if watch.care is Care.DROP:
        assert watch.leg is not None
        return replace(trade, legs=tuple(leg for leg in trade.legs if leg.group_id != watch.leg.group_id))
    if watch.care is Care.PROTECT:
        stop = a_leg(
            Purpose.STOP_LOSS, id=f"own-{number}", parent_id=None, qty=watch.uncovered_qty, broker_status="new"
        )
        assert reserved_qty(replace(trade, legs=(*trade.legs, stop))) <= trade.qty
        return replace(trade, legs=(*trade.legs, stop))
    return trade


def _settled(trade: OpenTrade) -> OpenTrade:
    """Let the broker answer: what was on its way arrives, what was replaced or cancelled goes."""
    resting = {leg.broker_order_id for leg in trade.legs}
    replaced = {leg.replaces_broker_id for leg in trade.legs if leg.replaces_broker_id in resting}
    return replace(
        trade,
        legs=tuple(
            replace(leg, state=OrderState.WORKING, replaces_broker_id=None)
            for leg in trade.legs
            if leg.broker_order_id not in replaced
            and leg.cancel_requested_at is None
            and leg.replaces_broker_id != "gone"
        ),
    )
