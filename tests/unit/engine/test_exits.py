from datetime import timedelta
from decimal import Decimal

import pytest

from engine.domain.book import OpenTrade, OrderState, Purpose
from engine.domain.broker_types import MarketTime, Quote
from engine.domain.coverage import blocking_legs, left_of, planned_qty, protected_qty, reserved_qty
from engine.domain.exit_rules import ExitRules
from engine.domain.exits import PARTIAL_WAIT_S, Care, Look, Watch, fresh, is_fully_at_broker, watch_trade
from tests.unit.engine.builders import MARKET, NOON, a_leg, a_quote, a_trade, an_order, protected_trade

CLOSED = MarketTime(NOON, is_open=False)
STOP, TARGET = Purpose.STOP_LOSS, Purpose.TAKE_PROFIT


def stop_at(price: int, **changes: object) -> OpenTrade:
    """Return the ten shares with a bracket at the broker, its stop at a price."""
    return a_trade(a_leg(STOP, stop_price=Decimal(price), **changes), a_leg(TARGET), avg_entry_price=Decimal(100))


def own_stop(**changes: object):
    """Return a stop that the engine placed by itself."""
    return a_leg(
        STOP, **{"id": "repair", "parent_id": None, "broker_status": "new", "stop_price": Decimal(90)} | changes
    )


def look(trade: OpenTrade, price: str | None = "100", market: MarketTime = MARKET, **more: object) -> Watch:
    quote = None if price is None else a_quote(price)
    return watch_trade(trade, Look(market=market, quote=quote, **more))  # type: ignore[arg-type]


NAKED = a_trade()
HALF = a_trade(own_stop(qty=Decimal(4)))
TRIGGERED = a_trade(a_leg(STOP, broker_status="new"))


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
        (HALF, "90", Care.CLOSE),
        (NAKED, "120", Care.CLOSE),
        (a_trade(exit_working=True), "80", Care.NOTHING),  # already on its way out
        (a_trade(stop_price=None, take_profit_price=None), "1", Care.NOTHING),  # nothing was planned
        (a_trade(own_stop(state=OrderState.READY)), "100", Care.NOTHING),  # a stop is on its way
        (a_trade(own_stop(), a_leg(STOP)), "100", Care.DROP),  # twice as much would be sold as is held
        (a_trade(own_stop(), a_leg(STOP, cancel_requested_at=NOON)), "100", Care.NOTHING),  # about to be put right
        (a_trade(a_leg(TARGET)), "100", Care.DROP),  # a target alone holds the shares that a stop needs
    ],
)
def test_a_position_is_cared_for_when_the_broker_does_not(trade: OpenTrade, price: str, care: Care) -> None:
    assert look(trade, price).care is care


class TestShortPositions:
    def test_one_is_closed_when_the_price_rises_through_its_stop(self) -> None:
        short = a_trade(side="short", stop_price=Decimal(110), take_profit_price=Decimal(80))

        watch = look(short, "111")

        assert (watch.care, watch.exit_reason) == (Care.CLOSE, "stop_loss")

    def test_one_is_protected_above_its_entry_when_its_profile_says_how_far(self) -> None:
        short = a_trade(side="short", stop_price=None, take_profit_price=None, avg_entry_price=Decimal(100))

        watch = look(short, "100", rules=ExitRules(stop_loss_pct=Decimal("0.05")))

        assert (watch.care, watch.stop_price) == (Care.PROTECT, 105)

    def test_one_trails_down_when_the_price_falls(self) -> None:
        short = a_trade(side="short", stop_price=Decimal(110), take_profit_price=None)

        watch = look(short, "90", rules=ExitRules(trailing_stop_pct=Decimal("0.1")))

        assert watch.stop_price == 99


class TestCoverage:
    def test_legs_do_not_count_when_the_entry_still_fills(self) -> None:
        watch = look(protected_trade(), entry=an_order(state=OrderState.PARTIALLY_FILLED))

        assert (watch.protected_qty, watch.care) == (0, Care.NOTHING)

    def test_held_stops_count_when_protection_is_summed_up(self) -> None:
        assert protected_qty(protected_trade()) == 10
        assert protected_qty(HALF) == 4

    def test_a_stop_counts_as_protection_only_when_it_is_at_the_broker(self) -> None:
        on_its_way = a_trade(own_stop(state=OrderState.SUBMITTING))

        assert (protected_qty(on_its_way), planned_qty(on_its_way)) == (0, 10)

    def test_a_legs_rest_is_what_its_sibling_has_left_when_that_was_partly_filled(self) -> None:
        target = a_leg(TARGET, filled_qty=Decimal(4), state=OrderState.PARTIALLY_FILLED)
        trade = a_trade(a_leg(STOP), target, qty=Decimal(6))

        assert left_of(trade, trade.legs[0]) == 6
        assert look(trade).care is Care.NOTHING

    def test_a_brackets_pair_sells_the_shares_once(self) -> None:
        assert reserved_qty(protected_trade()) == 10

    def test_a_moved_stop_counts_once_whichever_of_the_two_the_broker_has(self) -> None:
        old = a_leg(STOP, stop_price=Decimal(90))
        moving = a_leg(STOP, id="moved", state=OrderState.READY, replaces_broker_id=old.broker_order_id)
        moved = a_leg(STOP, id="moved", replaces_broker_id=old.broker_order_id)

        assert protected_qty(a_trade(old, moving)) == planned_qty(a_trade(old, moving)) == 10
        assert protected_qty(a_trade(old, moved)) == planned_qty(a_trade(old, moved)) == 10

    def test_the_missing_part_is_asked_for_when_a_stop_is_too_small(self) -> None:
        assert look(HALF).uncovered_qty == 6

    def test_the_engines_own_stop_goes_first_when_two_are_too_many(self) -> None:
        watch = look(a_trade(own_stop(), a_leg(STOP), a_leg(TARGET)))

        assert watch.leg is not None and watch.leg.id == "repair"

    def test_only_orders_at_the_broker_block_when_an_exit_wants_the_shares(self) -> None:
        own_exit = an_order(id="exit", purpose=Purpose.EXIT)
        waiting = a_leg(STOP, id="new stop", state=OrderState.READY)
        trade = a_trade(a_leg(STOP), a_leg(TARGET), waiting, own_exit)

        assert [leg.purpose for leg in blocking_legs(trade, own_exit)] == [STOP, TARGET]


class TestPartlyFilledEntries:
    PARTIAL = an_order(state=OrderState.PARTIALLY_FILLED, filled_qty=Decimal(5))

    def test_the_rest_is_cancelled_when_it_lasts(self) -> None:
        assert look(protected_trade(), entry=self.PARTIAL, entry_seen_s=PARTIAL_WAIT_S - 1).care is Care.NOTHING
        assert look(protected_trade(), entry=self.PARTIAL, entry_seen_s=PARTIAL_WAIT_S).care is Care.CANCEL_ENTRY

    def test_the_rest_is_cancelled_at_once_when_the_price_is_through_the_stop(self) -> None:
        assert look(protected_trade(), "85", entry=self.PARTIAL).care is Care.CANCEL_ENTRY

    def test_it_is_asked_for_once(self) -> None:
        asked = an_order(state=OrderState.PARTIALLY_FILLED, cancel_requested_at=NOON)

        assert look(protected_trade(), "85", entry=asked, entry_seen_s=60).care is Care.NOTHING


class TestTrailingStops:
    RULES = ExitRules(trailing_stop_pct=Decimal("0.1"), trailing_activation_pct=Decimal("0.05"))

    @pytest.mark.parametrize(
        ("price", "stop"),
        [
            ("104.99", 90),  # not active yet
            ("105", Decimal("94.50")),  # active
            ("119", Decimal("107.10")),
        ],
    )
    def test_the_stop_follows_once_the_price_has_moved_far_enough(self, price: str, stop: Decimal) -> None:
        assert look(stop_at(90), price, rules=self.RULES).stop_price == stop

    def test_the_resting_stop_is_moved_when_it_is_left_behind(self) -> None:
        watch = look(stop_at(90), "110", rules=self.RULES)

        assert (watch.care, watch.exit_reason, watch.stop_price) == (Care.MOVE_STOP, "trailing_stop", 99)
        assert watch.leg is not None and watch.leg.broker_order_id == "broker-stop_loss"

    def test_it_stays_when_the_gain_is_too_small_for_a_call(self) -> None:
        assert look(stop_at(99), "110.05", rules=self.RULES).care is Care.NOTHING

    def test_what_it_has_reached_stays_when_the_price_falls_back(self) -> None:
        kept = a_trade(a_leg(STOP, stop_price=Decimal(99)), a_leg(TARGET), stop_price=Decimal(99))

        assert look(kept, "101", rules=self.RULES).stop_price == 99

    def test_the_position_is_closed_when_the_price_is_through_before_the_stop_was_moved(self) -> None:
        trade = stop_at(90)
        reached = a_trade(*trade.legs, stop_price=Decimal(105), avg_entry_price=Decimal(100))

        watch = look(reached, "104", rules=self.RULES)

        assert (watch.care, watch.exit_reason) == (Care.CLOSE, "trailing_stop")

    def test_nothing_trails_when_the_market_is_closed(self) -> None:
        watch = look(stop_at(90), "115", CLOSED, rules=self.RULES)

        assert (watch.care, watch.stop_price) == (Care.NOTHING, 90)

    def test_one_move_is_made_at_a_time(self) -> None:
        trade = stop_at(90)
        moving = a_leg(STOP, id="moving", state=OrderState.READY, replaces_broker_id="broker-stop_loss")

        assert look(a_trade(*trade.legs, moving), "115", rules=self.RULES).care is Care.NOTHING


class TestTimeStops:
    def test_a_position_is_closed_when_it_was_held_long_enough(self) -> None:
        trade = protected_trade(opened_at=NOON - timedelta(days=2))

        assert look(trade, rules=ExitRules(days_held_max=3)).care is Care.NOTHING
        watch = look(trade, rules=ExitRules(days_held_max=2))
        assert (watch.care, watch.exit_reason) == (Care.CLOSE, "time_stop")

    def test_it_needs_no_price(self) -> None:
        trade = protected_trade(opened_at=NOON - timedelta(days=2))

        assert look(trade, None, rules=ExitRules(days_held_max=2)).care is Care.CLOSE

    def test_it_waits_for_the_opening(self) -> None:
        trade = protected_trade(opened_at=NOON - timedelta(days=2))

        assert look(trade, "100", CLOSED, rules=ExitRules(days_held_max=2)).care is Care.NOTHING


class TestWithoutAUsablePrice:
    def test_a_naked_position_is_protected_when_there_is_no_quote(self) -> None:
        assert look(NAKED, None).care is Care.PROTECT

    @pytest.mark.parametrize("price", ["80", "125"])
    def test_nothing_is_closed_outside_regular_hours(self, price: str) -> None:
        assert look(protected_trade(), price, CLOSED).care is Care.NOTHING
        assert look(NAKED, price, CLOSED).care is Care.PROTECT

    @pytest.mark.parametrize(
        ("age_s", "market", "usable"),
        [(300, MARKET, True), (301, MARKET, False), (90_000, CLOSED, True)],  # quotes stand still overnight
    )
    def test_a_quote_is_judged_by_only_while_it_is_fresh(self, age_s: int, market: MarketTime, usable: bool) -> None:
        quote = Quote("AAPL", Decimal(100), Decimal(100), NOON - timedelta(seconds=age_s))

        assert (fresh(quote, market, Decimal(300)) is not None) is usable

    def test_a_crossed_quote_is_none(self) -> None:
        assert fresh(Quote("AAPL", Decimal(101), Decimal(100), NOON), MARKET, Decimal(300)) is None


@pytest.mark.parametrize(
    ("trade", "rules", "expected"),
    [
        (protected_trade(), ExitRules(), True),
        (protected_trade(), ExitRules(trailing_stop_pct=Decimal("0.1")), False),
        (protected_trade(), ExitRules(bars_held_max=5), False),
        (a_trade(a_leg(STOP)), ExitRules(), False),  # its target is the engine's to watch
        (NAKED, ExitRules(), False),
    ],
)
def test_no_look_is_urgent_only_when_the_broker_does_everything(
    trade: OpenTrade, rules: ExitRules, expected: bool
) -> None:
    assert is_fully_at_broker(trade, rules) is expected
