"""Account, positions, activities and reference data through the unmodified client."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import AccountStatus, AssetStatus, PositionSide
from alpaca.trading.models import Order
from alpaca.trading.requests import ClosePositionRequest, GetAssetsRequest, GetCalendarRequest

from tests.integration.exchange.live import LiveExchange


class TestAccount:
    def test_starts_with_a_hundred_thousand_when_nothing_has_traded(self, closed_market: LiveExchange) -> None:
        account = closed_market.trading.get_account()

        assert account.status is AccountStatus.ACTIVE
        assert (account.cash, account.equity, account.buying_power) == (
            "100000",
            "100000",
            "400000",
        )
        assert account.pattern_day_trader is None

    def test_equity_is_cash_plus_position_when_shares_are_held(self, holding: LiveExchange) -> None:
        account, position = holding.trading.get_account(), holding.trading.get_open_position("AAPL")

        assert Decimal(account.equity) == Decimal(account.cash) + Decimal(position.market_value)

    def test_last_equity_is_that_of_the_close_when_a_session_has_ended(self, holding: LiveExchange) -> None:
        holding.step(to="close")

        account = holding.trading.get_account()

        assert account.last_equity == account.equity

    def test_configuration_is_kept_when_it_is_changed(self, live: LiveExchange) -> None:
        changed = live.trading.get_account_configurations()
        changed.suspend_trade = True

        live.trading.set_account_configurations(changed)

        assert live.trading.get_account_configurations().suspend_trade is True
        assert live.trading.get_account().trade_suspended_by_user is True

    @pytest.mark.parametrize(
        "change",
        [{"suspend_trade": "yes"}, {"max_margin_multiplier": "9"}, {"max_margin_multiplier": []}],
    )
    def test_configuration_is_refused_when_a_value_is_wrong(self, live: LiveExchange, change: dict[str, Any]) -> None:
        answer = live.send("PATCH", "/v2/account/configurations", json=change)

        assert answer.status_code == 422

    def test_history_has_one_point_a_session_when_sessions_have_closed(self, holding: LiveExchange) -> None:
        for _ in range(3):
            holding.step(to="close")

        history = holding.trading.get_portfolio_history()

        assert len(history.equity) == len(history.timestamp) == 3


class TestActivities:
    def test_add_up_to_the_filled_quantity_when_an_order_filled(self, holding: LiveExchange) -> None:
        fills = holding.trading.get("/account/activities/FILL", {})

        assert [(fill["side"], fill["qty"], fill["type"]) for fill in fills] == [("buy", "10", "fill")]
        assert fills[0]["id"].startswith("20070103093500")  # New York's time, not UTC

    def test_come_once_each_when_paged(self, live: LiveExchange) -> None:
        for _ in range(5):
            live.order(qty="1")
        live.step(ticks=1)
        seen: list[str] = []

        while True:
            token = {"page_token": seen[-1]} if seen else {}
            page = live.trading.get("/account/activities", {"page_size": 2, **token})
            if not page:
                break
            seen += [fill["id"] for fill in page]

        assert len(seen) == len(set(seen)) == 5

    def test_are_refused_when_the_page_token_is_unknown(self, live: LiveExchange) -> None:
        assert live.send("GET", "/v2/account/activities?page_token=x::y").status_code == 422


class TestPositions:
    def test_show_what_was_bought_when_an_order_filled(self, holding: LiveExchange) -> None:
        (position,) = holding.trading.get_all_positions()

        assert (position.symbol, position.qty, position.side) == ("AAPL", "10", PositionSide.LONG)
        assert Decimal(position.cost_basis) == 10 * Decimal(position.avg_entry_price)

    def test_are_found_by_asset_id_when_it_is_given(self, holding: LiveExchange) -> None:
        asset = holding.trading.get_asset("AAPL")

        assert holding.trading.get_open_position(asset.id).symbol == "AAPL"

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_answer_404_when_there_is_none(self, live: LiveExchange, method: str) -> None:
        answer = live.send(method, "/v2/positions/MSFT")

        assert answer.status_code == 404
        assert answer.json() == {"code": 40410000, "message": "position does not exist"}

    @pytest.mark.parametrize(
        ("part", "left"),
        [
            (None, []),
            (ClosePositionRequest(qty="4"), ["6"]),
            (ClosePositionRequest(percentage="25"), ["7.5"]),
        ],
    )
    def test_shrink_by_the_wanted_part_when_closed(
        self, holding: LiveExchange, part: ClosePositionRequest | None, left: list[str]
    ) -> None:
        order = holding.trading.close_position("AAPL", part)
        assert isinstance(order, Order)

        holding.step(ticks=1)

        assert [each.qty for each in holding.trading.get_all_positions()] == left

    @pytest.mark.parametrize("query", ["qty=0", "qty=x", "qty=1&percentage=5", "percentage=101"])
    def test_are_left_alone_when_the_part_makes_no_sense(self, holding: LiveExchange, query: str) -> None:
        assert holding.send("DELETE", f"/v2/positions/AAPL?{query}").status_code == 422

    def test_cannot_close_when_a_resting_stop_holds_the_shares(self, holding: LiveExchange) -> None:
        holding.order(side="sell", type="stop", stop_price="50", time_in_force="gtc")

        with pytest.raises(APIError) as refused:
            holding.trading.close_position("AAPL")

        assert (refused.value.status_code, refused.value.code) == (403, 40310000)
        assert len(holding.trading.get_orders()) == 1  # the stop is still there

    def test_close_all_reports_each_refusal_when_orders_hold_shares(self, holding: LiveExchange) -> None:
        holding.order(side="sell", type="stop", stop_price="50", time_in_force="gtc")

        (answer,) = holding.trading.close_all_positions()

        assert (answer.symbol, answer.status, answer.body.code) == ("AAPL", 403, 40310000)

    def test_close_all_frees_the_shares_first_when_told_to_cancel_orders(self, holding: LiveExchange) -> None:
        holding.order(side="sell", type="stop", stop_price="50", time_in_force="gtc")

        holding.trading.close_all_positions(cancel_orders=True)
        holding.step(ticks=1)

        assert holding.trading.get_all_positions() == []

    def test_are_negative_when_sold_short(self, live: LiveExchange) -> None:
        live.order(side="sell")

        live.step(ticks=1)

        position = live.trading.get_open_position("AAPL")
        assert (position.qty, position.side) == ("-10", PositionSide.SHORT)


class TestReference:
    def test_clock_tells_the_next_open_and_close_when_closed(self, closed_market: LiveExchange) -> None:
        clock = closed_market.trading.get_clock()

        assert not clock.is_open
        assert clock.next_open.isoformat() == "2007-01-03T09:30:00-05:00"
        assert clock.next_close.isoformat() == "2007-01-03T16:00:00-05:00"

    def test_clock_points_to_the_next_session_when_open(self, live: LiveExchange) -> None:
        clock = live.trading.get_clock()

        assert clock.is_open
        assert clock.next_open.date() == date(2007, 1, 4)

    def test_calendar_knows_holidays_and_early_closes_when_asked(self, live: LiveExchange) -> None:
        days = live.trading.get_calendar(GetCalendarRequest(start=date(2007, 7, 3), end=date(2007, 7, 5)))

        assert [(day.date.day, day.close.hour) for day in days] == [(3, 13), (5, 16)]

    def test_assets_are_all_shares_or_those_of_a_status(self, live: LiveExchange) -> None:
        every, active, inactive = (
            {asset.symbol for asset in live.trading.get_all_assets(GetAssetsRequest(status=status))}
            for status in (None, AssetStatus.ACTIVE, AssetStatus.INACTIVE)
        )

        assert (active, inactive) == ({"AAPL", "GOOG", "IBM", "MSFT"}, {"FB"})  # listed in 2012
        assert every == active | inactive

    def test_asset_is_404_when_unknown(self, live: LiveExchange) -> None:
        answer = live.send("GET", "/v2/assets/NOPE")

        assert answer.status_code == 404
        assert answer.json() == {"code": 40410000, "message": "asset not found for NOPE"}
