"""Every kind of order through the unmodified client: what it may be, when it trades, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from alpaca.trading.enums import AssetClass, OrderClass, OrderSide, OrderStatus, OrderType, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from tests.integration.exchange.live import LiveExchange

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC, OPG, CLS, IOC, FOK = (TimeInForce(name) for name in ("day", "gtc", "opg", "cls", "ioc", "fok"))


def send(live: LiveExchange, request: Callable[..., Any], **fields: Any) -> Order:
    body = {"symbol": "AAPL", "qty": 10, "side": BUY, "time_in_force": DAY} | fields
    order = live.trading.submit_order(request(**{name: value for name, value in body.items() if value is not None}))
    assert isinstance(order, Order)
    return order


def seen(live: LiveExchange, order: Order) -> Order:
    found = live.trading.get_order_by_id(order.id)
    assert isinstance(found, Order)
    return found


class TestEveryKind:
    """Each type with each time in force that Alpaca allows for whole shares."""

    @pytest.mark.parametrize("tif", [DAY, GTC, IOC, FOK])
    def test_market_order_fills_when_the_market_is_open(self, live: LiveExchange, tif: TimeInForce) -> None:
        order = send(live, MarketOrderRequest, time_in_force=tif)

        live.step(ticks=1)

        assert (seen(live, order).status, seen(live, order).time_in_force) == (OrderStatus.FILLED, tif)

    @pytest.mark.parametrize("tif", [DAY, GTC, IOC, FOK])
    def test_limit_order_fills_when_it_is_marketable(self, live: LiveExchange, tif: TimeInForce) -> None:
        order = send(live, LimitOrderRequest, limit_price=200, time_in_force=tif)

        live.step(ticks=1)

        assert seen(live, order).status is OrderStatus.FILLED

    @pytest.mark.parametrize("tif", [IOC, FOK])
    def test_limit_order_is_canceled_when_it_may_not_wait(self, live: LiveExchange, tif: TimeInForce) -> None:
        order = send(live, LimitOrderRequest, limit_price=50, time_in_force=tif)

        live.step(ticks=1)

        assert seen(live, order).status is OrderStatus.CANCELED

    @pytest.mark.parametrize("tif", [DAY, GTC])
    def test_stop_orders_trade_when_the_price_rises_to_them(self, live: LiveExchange, tif: TimeInForce) -> None:
        stop = send(live, StopOrderRequest, stop_price=88, time_in_force=tif)
        stop_limit = send(live, StopLimitOrderRequest, stop_price=88, limit_price=100, time_in_force=tif)
        live.step(ticks=1)
        before = [seen(live, order).status for order in (stop, stop_limit)]

        live.sim("POST", "price", symbol="AAPL", pct=0.1)
        live.step(ticks=1)

        assert before == [OrderStatus.NEW] * 2
        assert [seen(live, order).status for order in (stop, stop_limit)] == [OrderStatus.FILLED] * 2


class TestTrailingStop:
    def test_follows_the_price_up_and_sells_when_it_falls_back(self, holding: LiveExchange) -> None:
        order = send(holding, TrailingStopOrderRequest, side=SELL, trail_price=3, time_in_force=GTC)
        begun = seen(holding, order)
        holding.sim("POST", "price", symbol="AAPL", pct=0.1)
        holding.step(ticks=1)
        raised = seen(holding, order)

        holding.sim("POST", "price", symbol="AAPL", pct=-0.1)
        holding.step(ticks=1)

        assert Decimal(begun.hwm) - Decimal(begun.stop_price) == 3
        assert Decimal(raised.hwm) > Decimal(begun.hwm) + 5
        assert Decimal(raised.hwm) - Decimal(raised.stop_price) == 3
        assert raised.status is OrderStatus.NEW
        assert seen(holding, order).status is OrderStatus.FILLED

    def test_never_moves_down_when_the_price_falls(self, holding: LiveExchange) -> None:
        order = send(holding, TrailingStopOrderRequest, side=SELL, trail_percent=20)
        begun = seen(holding, order)

        holding.sim("POST", "price", symbol="AAPL", pct=-0.05)
        holding.step(ticks=1)

        assert seen(holding, order).stop_price == begun.stop_price
        assert seen(holding, order).trail_percent == "20"

    def test_buys_when_the_price_rises_from_its_low(self, live: LiveExchange) -> None:
        order = send(live, TrailingStopOrderRequest, trail_percent=2)
        live.sim("POST", "price", symbol="AAPL", pct=-0.1)
        live.step(ticks=1)
        lowered = seen(live, order)

        live.sim("POST", "price", symbol="AAPL", pct=0.05)
        live.step(ticks=1)

        assert Decimal(lowered.stop_price) == round(Decimal(lowered.hwm) * Decimal("1.02"), 2)
        assert seen(live, order).status is OrderStatus.FILLED

    def test_distance_changes_when_it_is_replaced(self, holding: LiveExchange) -> None:
        order = send(holding, TrailingStopOrderRequest, side=SELL, trail_price=3, time_in_force=GTC)

        new = holding.trading.replace_order_by_id(order.id, ReplaceOrderRequest(trail=5))

        assert isinstance(new, Order)
        assert (new.trail_price, Decimal(new.hwm) - Decimal(new.stop_price)) == ("5", 5)


class TestNotional:
    def test_buys_for_the_dollars_when_filled(self, live: LiveExchange) -> None:
        order = send(live, MarketOrderRequest, qty=None, notional=1000)

        live.step(ticks=1)

        filled = seen(live, order)
        spent = Decimal(filled.filled_qty) * Decimal(filled.filled_avg_price)
        assert (filled.status, filled.qty, filled.notional) == (OrderStatus.FILLED, None, "1000")
        assert 0 <= 1000 - spent < Decimal("0.000001")

    def test_sells_no_more_than_is_held_when_the_price_fell(self, holding: LiveExchange) -> None:
        order = send(holding, MarketOrderRequest, qty=None, notional=860, side=SELL)
        holding.sim("POST", "price", symbol="AAPL", pct=-0.2)

        holding.step(ticks=1)

        assert seen(holding, order).filled_qty == "10"
        assert holding.trading.get_all_positions() == []

    def test_takes_its_dollars_from_buying_power_when_it_rests(self, live: LiveExchange) -> None:
        send(live, LimitOrderRequest, qty=None, notional=50_000, limit_price=10)

        assert live.trading.get_account().buying_power == "350000"

    @pytest.mark.parametrize(
        ("fields", "status", "message"),
        [
            ({"notional": "0.5"}, 403, "cost basis must be >= minimal amount of order 1"),
            ({"notional": "5", "qty": "1"}, 422, "only one of qty or notional is accepted"),
            ({"notional": "5", "time_in_force": "gtc"}, 422, "fractional orders must be DAY orders"),
            ({"notional": "-5"}, 422, "notional must be > 0"),
            ({"notional": "5", "side": "sell"}, 422, "fractional orders cannot be sold short"),
        ],
    )
    def test_is_refused_when_it_makes_no_sense(
        self, live: LiveExchange, fields: dict[str, Any], status: int, message: str
    ) -> None:
        answer = live.order(**({"qty": None} | fields))

        assert (answer.status_code, answer.json()["message"]) == (status, message)

    def test_is_not_replaced_when_asked(self, live: LiveExchange) -> None:
        order = send(live, LimitOrderRequest, qty=None, notional=100, limit_price=10)

        answer = live.send("PATCH", f"/v2/orders/{order.id}", json={"limit_price": "11"})

        assert answer.json() == {"code": 42210000, "message": "notional orders cannot be replaced"}


class TestFractions:
    @pytest.mark.parametrize("kind", ["market", "limit", "stop", "stop_limit"])
    def test_fill_to_nine_decimals_when_the_order_is_a_day_order(self, live: LiveExchange, kind: str) -> None:
        prices = {"limit": {"limit_price": "200"}, "stop": {"stop_price": "50"}}
        prices["stop_limit"] = prices["limit"] | prices["stop"]
        order = live.order(qty="0.123456789", type=kind, **prices.get(kind, {})).json()

        live.step(ticks=1)

        assert live.send("GET", f"/v2/orders/{order['id']}").json()["filled_qty"] == "0.123456789"

    def test_are_refused_when_the_asset_or_the_account_has_none(self, live: LiveExchange) -> None:
        live.sim("PATCH", "account", not_fractionable=["AAPL"])
        of_asset = live.order(qty="0.5")
        live.send("PATCH", "/v2/account/configurations", json={"fractional_trading": False})
        of_account = live.order(qty="0.5", symbol="MSFT")

        assert (of_asset.status_code, of_asset.json()) == (
            403,
            {"code": 40310000, "message": 'asset "AAPL" is not fractionable'},
        )
        assert (of_account.status_code, of_account.json()["code"]) == (403, 40310000)


class TestAuctions:
    def test_opening_order_fills_at_the_first_trade_when_sent_before(self, closed_market: LiveExchange) -> None:
        order = send(closed_market, MarketOrderRequest, time_in_force=OPG)
        assert order.status is OrderStatus.ACCEPTED

        closed_market.step(to="open")

        first = closed_market.send("GET", "/v2/stocks/trades/latest?symbols=AAPL").json()["trades"]["AAPL"]
        assert seen(closed_market, order).status is OrderStatus.FILLED
        assert float(seen(closed_market, order).filled_avg_price) == first["p"]

    def test_limit_expires_right_after_the_auction_when_out_of_reach(self, closed_market: LiveExchange) -> None:
        order = send(closed_market, LimitOrderRequest, limit_price=50, time_in_force=OPG)

        closed_market.step(to="open")

        assert seen(closed_market, order).status is OrderStatus.EXPIRED

    def test_closing_order_waits_all_day_and_fills_at_the_last_trade(self, live: LiveExchange) -> None:
        order = send(live, MarketOrderRequest, time_in_force=CLS)
        live.step(minutes=120)
        waiting = seen(live, order).status

        live.step(to="close")

        last = live.send("GET", "/v2/stocks/trades/latest?symbols=AAPL").json()["trades"]["AAPL"]
        assert waiting is OrderStatus.NEW
        assert float(seen(live, order).filled_avg_price) == last["p"]

    def test_closing_limit_expires_when_out_of_reach(self, live: LiveExchange) -> None:
        order = send(live, LimitOrderRequest, limit_price=50, time_in_force=CLS)

        live.step(to="close")

        assert seen(live, order).status is OrderStatus.EXPIRED

    @pytest.mark.parametrize(
        ("tif", "minutes", "message"),
        [
            ("opg", 0, "opg orders must be submitted after 7:00pm and before 9:28am"),
            ("cls", 385, "cls orders must be submitted after 7:00pm and before 3:50pm"),
        ],
    )
    def test_is_refused_when_it_comes_too_late(self, live: LiveExchange, tif: str, minutes: int, message: str) -> None:
        if minutes:
            live.step(minutes=minutes)

        answer = live.order(time_in_force=tif)

        assert (answer.status_code, answer.json()) == (422, {"code": 42210000, "message": message})

    def test_is_taken_again_when_the_night_is_over(self, live: LiveExchange) -> None:
        live.step(to="close")
        right_after = live.order(time_in_force="opg").status_code
        live.step(to="pre_open")

        assert (right_after, live.order(time_in_force="opg").status_code) == (422, 200)


class TestExtendedHours:
    def test_limit_fills_before_the_open_when_marketable(self, closed_market: LiveExchange) -> None:
        closed_market.step(to="close")
        order = send(closed_market, LimitOrderRequest, limit_price=200, extended_hours=True)

        clock = closed_market.step(ticks=1)

        assert clock["now"].startswith("2007-01-03T21:05")
        assert clock["is_open"] is False
        assert seen(closed_market, order).status is OrderStatus.FILLED
        assert seen(closed_market, order).extended_hours is True

    def test_other_orders_wait_for_the_open_when_the_night_is_walked(self, closed_market: LiveExchange) -> None:
        closed_market.step(to="close")
        send(closed_market, LimitOrderRequest, limit_price=50, extended_hours=True, time_in_force=GTC)
        order = send(closed_market, MarketOrderRequest)

        closed_market.step(ticks=60)
        in_the_night = seen(closed_market, order).status
        closed_market.step(to="open")

        assert in_the_night is OrderStatus.ACCEPTED
        assert seen(closed_market, order).status is OrderStatus.FILLED

    def test_day_order_lives_past_the_close_and_expires_in_the_evening(self, live: LiveExchange) -> None:
        order = send(live, LimitOrderRequest, limit_price=50, extended_hours=True)
        live.step(to="close")
        at_the_close = seen(live, order).status

        live.step(ticks=48)

        assert at_the_close is OrderStatus.NEW
        assert seen(live, order).status is OrderStatus.EXPIRED

    def test_good_till_canceled_order_is_there_the_next_day(self, live: LiveExchange) -> None:
        order = send(live, LimitOrderRequest, limit_price=50, extended_hours=True, time_in_force=GTC)

        live.step(to="close")
        clock = live.step(to="open")

        assert clock["session_date"] == "2007-01-04"
        assert seen(live, order).status is OrderStatus.NEW

    @pytest.mark.parametrize(
        "fields",
        [
            {"type": "market"},
            {"type": "stop", "stop_price": "90"},
            {"type": "limit", "limit_price": "80", "time_in_force": "ioc"},
        ],
    )
    def test_is_refused_when_it_is_no_limit_for_the_day_or_longer(
        self, live: LiveExchange, fields: dict[str, Any]
    ) -> None:
        answer = live.order(extended_hours=True, **fields)

        message = "extended hours order must be DAY or GTC limit orders"
        assert (answer.status_code, answer.json()) == (422, {"code": 42210000, "message": message})


class TestClasses:
    def test_oto_take_profit_works_when_the_entry_has_filled(self, live: LiveExchange) -> None:
        order = send(
            live, MarketOrderRequest, order_class=OrderClass.OTO, take_profit=TakeProfitRequest(limit_price=120)
        )

        live.step(ticks=1)

        (leg,) = live.trading.get_orders()
        assert (leg.order_type, leg.status, seen(live, order).status) == (
            OrderType.LIMIT,
            OrderStatus.NEW,
            OrderStatus.FILLED,
        )

    def test_bracket_stop_becomes_a_limit_when_it_has_one(self, live: LiveExchange) -> None:
        order = send(
            live,
            LimitOrderRequest,
            limit_price=90,
            order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=120),
            stop_loss=StopLossRequest(stop_price=80, limit_price=79),
        )

        assert [leg.order_type for leg in order.legs] == [OrderType.LIMIT, OrderType.STOP_LIMIT]

    def test_short_bracket_buys_back_when_the_price_falls_to_its_profit(self, live: LiveExchange) -> None:
        send(
            live,
            MarketOrderRequest,
            side=SELL,
            time_in_force=GTC,
            order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=80),
            stop_loss=StopLossRequest(stop_price=95),
        )
        live.step(ticks=1)

        live.sim("POST", "price", symbol="AAPL", pct=-0.1)
        live.step(ticks=1)

        assert live.trading.get_all_positions() == []
        assert live.trading.get_orders() == []

    def test_split_adjusts_a_trailing_stop_when_it_happens_overnight(
        self, start_exchange: Callable[..., LiveExchange]
    ) -> None:
        live = start_exchange(date(2005, 2, 25))
        live.step(to="open")
        live.order()
        live.step(ticks=1)
        order = send(live, TrailingStopOrderRequest, side=SELL, trail_price=10, time_in_force=GTC)
        live.step(to="close")

        live.step(to="open")

        after = seen(live, order)
        assert (after.qty, after.trail_price) == ("20", "5")
        assert Decimal(after.hwm) < 60
        splits = live.trading.get("/account/activities/SPLIT", {})
        assert [(row["symbol"], row["activity_type"]) for row in splits] == [("AAPL", "SPLIT")]


class TestCrypto:
    def test_is_bought_in_the_night_and_shown_without_its_slash(self, live: LiveExchange) -> None:
        live.step(to="close")
        order = send(live, MarketOrderRequest, symbol="BTC/USD", qty=0.5, time_in_force=GTC)

        live.step(ticks=1)

        filled = seen(live, order)
        assert (filled.status, filled.asset_class, filled.filled_qty) == (
            OrderStatus.FILLED,
            AssetClass.CRYPTO,
            "0.5",
        )
        for name in ("BTCUSD", "BTC/USD"):
            held = live.trading.get_open_position(name)
            assert (held.symbol, held.qty, held.asset_class) == ("BTCUSD", "0.49875", AssetClass.CRYPTO)

    def test_fee_is_an_activity_of_its_own_and_pages_like_the_others(self, live: LiveExchange) -> None:
        for _ in range(3):
            send(live, MarketOrderRequest, symbol="ETH/USD", qty=1, time_in_force=GTC)
            live.step(ticks=1)
        rows: list[dict[str, Any]] = []

        while True:
            token = {"page_token": rows[-1]["id"]} if rows else {}
            page = live.trading.get("/account/activities", {"page_size": 1, "direction": "asc", **token})
            if not page:
                break
            rows += page

        assert [row["activity_type"] for row in rows] == ["FILL", "CFEE"] * 3
        assert {row["qty"] for row in rows} == {"1", "-0.0025"}
        assert len({row["id"] for row in rows}) == 6

    def test_is_closed_whole_when_the_position_is_closed(self, live: LiveExchange) -> None:
        send(live, MarketOrderRequest, symbol="BTC/USD", qty=0.5, time_in_force=GTC)
        live.step(ticks=1)

        live.trading.close_position("BTC/USD")
        live.step(ticks=1)

        assert live.trading.get_all_positions() == []
        assert live.sim("GET", "ledger")["ok"] is True
