"""Orders through the unmodified client: their states, groups, lists and replacements."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
)

from tests.integration.exchange.live import LiveExchange

BUY, SELL, DAY, GTC = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY, TimeInForce.GTC


def market(side: OrderSide = BUY, qty: float = 10, **fields: Any) -> MarketOrderRequest:
    fields = {"symbol": "AAPL", "time_in_force": DAY} | fields
    return MarketOrderRequest(side=side, qty=qty, **fields)


def limit(price: float, side: OrderSide = BUY, qty: float = 10, **fields: Any) -> LimitOrderRequest:
    fields = {"symbol": "AAPL", "time_in_force": DAY} | fields
    return LimitOrderRequest(side=side, qty=qty, limit_price=price, **fields)


def bracket(profit: float = 120, stop: float = 60, **fields: Any) -> MarketOrderRequest:
    return market(
        time_in_force=GTC,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=profit),
        stop_loss=StopLossRequest(stop_price=stop),
        **fields,
    )


def ask(live: LiveExchange) -> float:
    quotes = live.send("GET", "/v2/stocks/quotes/latest?symbols=AAPL").json()["quotes"]
    return float(quotes["AAPL"]["ap"])


def nested(live: LiveExchange, order: Order) -> Order:
    return live.trading.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))


class TestMarketOrder:
    def test_answers_pending_new_and_is_new_right_after_when_the_market_is_open(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(market(client_order_id="one"))

        assert order.status is OrderStatus.PENDING_NEW
        assert live.trading.get_order_by_client_id("one").status is OrderStatus.NEW

    def test_is_accepted_and_fills_at_the_open_when_sent_before_it(self, closed_market: LiveExchange) -> None:
        order = closed_market.trading.submit_order(market())
        assert order.status is OrderStatus.ACCEPTED

        closed_market.step(to="open")

        filled = closed_market.trading.get_order_by_id(order.id)
        assert (filled.status, filled.filled_avg_price) == (
            OrderStatus.FILLED,
            str(ask(live=closed_market)),
        )

    def test_fills_at_the_ask_of_the_next_tick_when_time_moves_on(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(market())
        assert live.trading.get_order_by_id(order.id).filled_qty == "0"

        live.step(ticks=1)

        filled = live.trading.get_order_by_id(order.id)
        assert (filled.filled_qty, filled.filled_avg_price) == ("10", str(ask(live)))


class TestPricedOrder:
    def test_limit_fills_at_the_better_quote_when_marketable(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(limit(500))

        live.step(ticks=1)

        assert live.trading.get_order_by_id(order.id).filled_avg_price == str(ask(live))

    def test_limit_expires_at_the_close_when_it_is_a_day_order_out_of_reach(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(limit(10))

        live.step(to="close")

        assert live.trading.get_order_by_id(order.id).status is OrderStatus.EXPIRED

    def test_limit_is_still_working_the_next_day_when_good_till_canceled(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(limit(10, time_in_force=GTC))

        live.step(to="open")

        assert live.trading.get_order_by_id(order.id).status is OrderStatus.NEW

    def test_ioc_is_canceled_when_the_next_tick_does_not_fill_it(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(limit(10, time_in_force=TimeInForce.IOC))

        live.step(ticks=1)

        assert live.trading.get_order_by_id(order.id).status is OrderStatus.CANCELED

    def test_stop_sells_when_the_price_falls_through_it(self, holding: LiveExchange) -> None:
        request = StopOrderRequest(symbol="AAPL", qty=10, side=SELL, time_in_force=GTC, stop_price=70)
        order = holding.trading.submit_order(request)
        holding.sim("POST", "price", symbol="AAPL", pct=-0.3)

        holding.step(ticks=1)

        filled = holding.trading.get_order_by_id(order.id)
        assert filled.status is OrderStatus.FILLED
        assert float(filled.filled_avg_price) < 70

    def test_stop_limit_rests_as_a_limit_when_the_price_falls_past_it(self, holding: LiveExchange) -> None:
        request = StopLimitOrderRequest(
            symbol="AAPL", qty=10, side=SELL, time_in_force=GTC, stop_price=70, limit_price=69
        )
        order = holding.trading.submit_order(request)
        holding.sim("POST", "price", symbol="AAPL", pct=-0.3)

        holding.step(ticks=1)

        assert holding.trading.get_order_by_id(order.id).status is OrderStatus.NEW


class TestBracket:
    def test_legs_are_held_when_the_entry_has_not_filled(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())

        assert [leg.status for leg in order.legs] == [OrderStatus.HELD, OrderStatus.HELD]

    def test_take_profit_works_and_stop_stays_held_when_the_entry_has_filled(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())

        live.step(ticks=1)

        profit, stop = nested(live, order).legs
        assert (profit.status, stop.status) == (OrderStatus.NEW, OrderStatus.HELD)
        assert (profit.qty, stop.qty) == ("10", "10")

    def test_stop_sells_and_take_profit_is_canceled_when_the_price_falls(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())
        live.step(ticks=1)
        live.sim("POST", "price", symbol="AAPL", pct=-0.4)

        live.step(ticks=1)

        profit, stop = nested(live, order).legs
        assert (profit.status, stop.status) == (OrderStatus.CANCELED, OrderStatus.FILLED)
        assert live.trading.get_all_positions() == []

    def test_take_profit_sells_and_stop_is_canceled_when_the_price_rises(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())
        live.step(ticks=1)
        live.sim("POST", "price", symbol="AAPL", pct=0.6)

        live.step(ticks=1)

        profit, stop = nested(live, order).legs
        assert (profit.status, stop.status) == (OrderStatus.FILLED, OrderStatus.CANCELED)

    def test_legs_are_canceled_when_the_entry_is_canceled(self, closed_market: LiveExchange) -> None:
        order = closed_market.trading.submit_order(bracket())

        closed_market.trading.cancel_order_by_id(order.id)

        statuses = {leg.status for leg in nested(closed_market, order).legs}
        assert statuses == {OrderStatus.CANCELED}

    def test_both_exits_end_when_one_is_canceled(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())
        live.step(ticks=1)

        live.trading.cancel_order_by_id(order.legs[1].id)

        statuses = {leg.status for leg in nested(live, order).legs}
        assert statuses == {OrderStatus.CANCELED}

    def test_day_exits_are_gone_when_the_market_closes(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket().model_copy(update={"time_in_force": DAY}))

        live.step(to="close")

        profit, stop = nested(live, order).legs
        assert (profit.status, stop.status) == (OrderStatus.EXPIRED, OrderStatus.CANCELED)

    def test_exits_reserve_the_shares_once_when_they_are_active(self, live: LiveExchange) -> None:
        live.trading.submit_order(bracket())
        live.step(ticks=1)

        assert live.trading.get_open_position("AAPL").qty_available == "0"

    def test_oto_stop_is_new_when_the_entry_has_filled(self, live: LiveExchange) -> None:
        loss = StopLossRequest(stop_price=60)
        order = live.trading.submit_order(market(order_class=OrderClass.OTO, stop_loss=loss))

        live.step(ticks=1)

        assert [leg.status for leg in nested(live, order).legs] == [OrderStatus.NEW]

    def test_oco_cancels_its_stop_when_the_take_profit_fills(self, holding: LiveExchange) -> None:
        request = LimitOrderRequest(
            symbol="AAPL",
            qty=10,
            side=SELL,
            time_in_force=GTC,
            order_class=OrderClass.OCO,
            take_profit=TakeProfitRequest(limit_price=120),
            stop_loss=StopLossRequest(stop_price=60),
        )
        order = holding.trading.submit_order(request)
        assert holding.trading.get_open_position("AAPL").qty_available == "0"
        holding.sim("POST", "price", symbol="AAPL", pct=0.6)

        holding.step(ticks=1)

        done = nested(holding, order)
        assert done.status is OrderStatus.FILLED
        assert [leg.status for leg in done.legs] == [OrderStatus.CANCELED]


class TestCancel:
    def test_repeating_a_cancel_succeeds_when_the_order_is_already_canceled(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(limit(10))

        live.trading.cancel_order_by_id(order.id)
        live.trading.cancel_order_by_id(order.id)

        assert live.trading.get_order_by_id(order.id).status is OrderStatus.CANCELED

    def test_is_refused_when_the_order_has_filled(self, holding: LiveExchange) -> None:
        order = holding.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))[0]

        with pytest.raises(APIError) as refused:
            holding.trading.cancel_order_by_id(order.id)

        assert refused.value.status_code == 422
        assert refused.value.code == 42210000
        assert refused.value.message == 'order is already in "filled" state'

    def test_cancel_all_names_every_open_order_when_some_are_open(self, live: LiveExchange) -> None:
        orders = [live.trading.submit_order(limit(price)) for price in (10, 11)]

        canceled = live.trading.cancel_orders()

        assert {answer.id for answer in canceled} == {order.id for order in orders}
        assert live.trading.get_orders() == []


class TestReplace:
    def test_new_order_takes_over_when_the_price_changes(self, live: LiveExchange) -> None:
        old = live.trading.submit_order(limit(10))

        new = live.trading.replace_order_by_id(old.id, ReplaceOrderRequest(limit_price=11, qty=5))

        ended = live.trading.get_order_by_id(old.id)
        assert (ended.status, ended.replaced_by) == (OrderStatus.REPLACED, new.id)
        assert (new.replaces, new.limit_price, new.qty) == (old.id, "11", "5")

    def test_is_refused_when_the_order_waits_for_the_open(self, closed_market: LiveExchange) -> None:
        old = closed_market.trading.submit_order(limit(10))

        with pytest.raises(APIError) as refused:
            closed_market.trading.replace_order_by_id(old.id, ReplaceOrderRequest(limit_price=11))

        assert refused.value.status_code == 422

    def test_moved_stop_still_cancels_its_take_profit_when_it_fires(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())
        live.step(ticks=1)
        stop = order.legs[1]

        live.trading.replace_order_by_id(stop.id, ReplaceOrderRequest(stop_price=75))
        live.sim("POST", "price", symbol="AAPL", pct=-0.2)
        live.step(ticks=1)

        statuses = [leg.status for leg in nested(live, order).legs]
        assert statuses == [OrderStatus.CANCELED, OrderStatus.REPLACED, OrderStatus.FILLED]


class TestList:
    def test_every_order_comes_once_when_paged_by_submission_time(self, live: LiveExchange) -> None:
        sent = [live.trading.submit_order(limit(10 + i)).id for i in range(7)]
        seen: list[object] = []
        after = None

        while True:
            page = live.trading.get_orders(
                GetOrdersRequest(status=QueryOrderStatus.ALL, limit=3, after=after, direction="asc")
            )
            if not page:
                break
            seen += [order.id for order in page]
            after = page[-1].submitted_at

        assert seen == sent

    def test_every_order_comes_once_when_paged_by_order_id(self, live: LiveExchange) -> None:
        sent = [str(live.trading.submit_order(limit(10 + i)).id) for i in range(5)]

        first = live.send("GET", "/v2/orders?limit=3").json()
        rest = live.send("GET", f"/v2/orders?before_order_id={first[-1]['id']}").json()

        assert [order["id"] for order in first + rest] == sent[::-1]

    def test_until_leaves_out_the_order_when_it_was_submitted_at_that_time(self, live: LiveExchange) -> None:
        first, second = (live.trading.submit_order(limit(price)) for price in (10, 11))

        listed = live.trading.get_orders(GetOrdersRequest(until=second.submitted_at))

        assert [order.id for order in listed] == [first.id]
        assert second.submitted_at - first.submitted_at < timedelta(seconds=1)

    def test_open_list_shows_the_group_when_nested_and_only_the_profit_when_flat(self, live: LiveExchange) -> None:
        order = live.trading.submit_order(bracket())
        live.step(ticks=1)

        flat = live.trading.get_orders()
        groups = live.trading.get_orders(GetOrdersRequest(nested=True))

        assert [each.id for each in flat] == [order.legs[0].id]
        assert [each.id for each in groups] == [order.id]
        assert len(groups[0].legs) == 2

    @pytest.mark.parametrize(
        ("wanted", "count"),
        [
            ({"status": "closed"}, 1),  # the filled purchase
            ({"status": "all"}, 2),
            ({"status": "open", "side": "buy"}, 0),
            ({"status": "all", "symbols": ["MSFT"]}, 0),
            ({"status": "all", "symbols": ["AAPL", "MSFT"]}, 2),
        ],
    )
    def test_only_matching_orders_come_when_filtered(
        self, holding: LiveExchange, wanted: dict[str, Any], count: int
    ) -> None:
        holding.trading.submit_order(limit(500, side=SELL))

        assert len(holding.trading.get_orders(GetOrdersRequest(**wanted))) == count
