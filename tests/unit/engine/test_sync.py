from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.domain.book import Order, OrderState, Purpose
from engine.domain.broker_types import MarketTime
from engine.domain.sync import due_cancels, plan_sync
from tests.unit.engine.builders import MARKET, NOON, a_leg, an_order, at_broker

STOP, TARGET = a_leg(Purpose.STOP_LOSS), a_leg(Purpose.TAKE_PROFIT)


class TestPlanSync:
    def test_asks_nothing_when_both_sides_say_the_same(self) -> None:
        order = an_order()

        plan = plan_sync([order], [at_broker(order)])

        assert plan.updates == plan.lookups == ()

    def test_reports_an_order_when_its_status_or_fills_differ(self) -> None:
        order = an_order(broker_status="pending_new")
        filling = at_broker(order, status="partially_filled", filled_qty=Decimal(3))

        assert plan_sync([order], [filling]).updates == (filling,)

    def test_reports_an_order_when_it_is_not_in_our_books(self) -> None:
        stranger = at_broker(an_order(id="stranger"))

        assert plan_sync([], [stranger]).updates == (stranger,)

    def test_looks_an_order_up_when_it_left_the_open_list(self) -> None:
        assert plan_sync([an_order()], []).lookups == ("broker-entry",)

    def test_trusts_a_held_stop_when_its_target_still_rests(self) -> None:
        assert plan_sync([STOP, TARGET], [at_broker(TARGET)]).lookups == ()

    def test_looks_the_whole_pair_up_when_the_target_is_gone(self) -> None:
        assert set(plan_sync([STOP, TARGET], []).lookups) == {STOP.broker_order_id, TARGET.broker_order_id}

    def test_reports_an_order_when_the_broker_has_restated_it_and_looks_at_its_held_sibling(self) -> None:
        """A split: twice the shares at half the price."""
        target = replace(TARGET, limit_price=Decimal(120))
        doubled = at_broker(target, qty=2 * TARGET.qty, limit_price=Decimal(60))

        plan = plan_sync([STOP, target], [doubled])

        assert plan.updates == (doubled,)
        assert plan.lookups == (STOP.broker_order_id,)

    def test_finds_no_news_in_a_price_that_only_has_more_digits(self) -> None:
        stop = replace(STOP, stop_price=Decimal("90.123457"))

        assert plan_sync([stop], [at_broker(stop, stop_price=Decimal("90.12345678"))]).updates == ()

    def test_finds_no_news_in_the_size_of_an_entry_that_has_filled_in_part(self) -> None:
        entry = an_order(filled_qty=Decimal(3), broker_status="partially_filled")

        assert plan_sync([entry], [at_broker(entry, qty=Decimal(9))]).updates == ()

    @pytest.mark.parametrize("state", [OrderState.READY, OrderState.SUBMITTING, OrderState.UNKNOWN])
    def test_leaves_orders_alone_when_the_broker_may_not_have_them(self, state: OrderState) -> None:
        assert plan_sync([an_order(state=state)], []).lookups == ()


class TestDueCancels:
    @pytest.mark.parametrize(
        ("order", "due"),
        [
            (an_order(), False),
            (an_order(cancel_requested_at=NOON), True),
            (an_order(cancel_requested_at=NOON, state=OrderState.SUBMITTING), False),  # not there yet
            (an_order(market_at=NOON - timedelta(days=1)), False),  # decided yesterday: works today
            (an_order(market_at=NOON - timedelta(days=2)), True),  # rested too long
            (replace(TARGET, market_at=NOON - timedelta(days=30)), False),  # protection may rest for ever
            (an_order(filled_qty=Decimal(3), broker_updated_at=NOON - timedelta(hours=1)), True),  # legs asleep
            (an_order(filled_qty=Decimal(3), broker_updated_at=NOON - timedelta(minutes=1)), False),
        ],
    )
    def test_entries_are_cancelled_when_asked_for_or_too_old(self, order: Order, due: bool) -> None:
        found = due_cancels([order], market=MARKET, partial_max=timedelta(minutes=15))

        assert bool(found) is due

    def test_an_entry_of_fridays_close_works_on_monday_and_not_on_tuesday(self) -> None:
        friday = an_order(market_at=datetime(2007, 1, 5, 21, tzinfo=UTC))

        def is_due(day: int) -> bool:
            market = MarketTime(datetime(2007, 1, day, 15, tzinfo=UTC), is_open=True)
            return bool(due_cancels([friday], market=market, partial_max=timedelta(minutes=15)))

        assert [is_due(day) for day in (5, 8, 9)] == [False, False, True]
