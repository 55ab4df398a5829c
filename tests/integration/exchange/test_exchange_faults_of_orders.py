"""Faults of orders, of the market and of the account, each seen to take effect."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alpaca.common.exceptions import APIError

from tests.integration.exchange.faults import CANCEL, REPLACE, SUBMIT, arm, look_up, resting
from tests.integration.exchange.live import LiveExchange

TEN_MINUTES_AGO = datetime(2007, 1, 3, 14, 35, tzinfo=UTC)  # three ticks after the open
# Where quotes are shown: the path, and how the quote is read from its answer.
STOCK_QUOTES: dict[str, Any] = {
    "/v2/stocks/quotes/latest?symbols=AAPL": lambda body: body["quotes"]["AAPL"],
    "/v2/stocks/snapshots?symbols=AAPL": lambda body: body["AAPL"]["latestQuote"],
}
CRYPTO_QUOTES: dict[str, Any] = {
    "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD": lambda body: body["quotes"]["BTC/USD"],
    "/v1beta3/crypto/us/snapshots?symbols=BTC/USD": lambda body: body["snapshots"]["BTC/USD"]["latestQuote"],
}


class TestOrdersThatGoWrong:
    @pytest.mark.parametrize("ticks", [0, 1, 3])
    def test_order_is_rejected_later_when_it_was_accepted(self, live: LiveExchange, ticks: int) -> None:
        arm(live, "reject_later", route=SUBMIT, ticks=ticks)
        answer = live.order(client_order_id="one")
        if ticks > 1:
            live.step(ticks=ticks - 1)
        before = look_up(live).json()["status"]
        if ticks:
            live.step(ticks=1)

        after = look_up(live).json()

        assert (answer.status_code, answer.json()["status"]) == (200, "pending_new")
        assert before == ("pending_new" if ticks else "rejected")
        assert (after["status"], after["filled_qty"]) == ("rejected", "0")
        assert after["failed_at"] is not None

    def test_exits_go_too_when_their_entry_is_rejected_later(self, live: LiveExchange) -> None:
        arm(live, "reject_later", route=SUBMIT)
        exits = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "60"}}
        order = live.order(order_class="bracket", **exits).json()

        live.step(ticks=1)

        nested = live.send("GET", f"/v2/orders/{order['id']}?nested=true").json()
        assert [nested["status"], *(leg["status"] for leg in nested["legs"])] == ["rejected", "canceled", "canceled"]

    def test_fill_is_partial_when_told_so(self, live: LiveExchange) -> None:
        arm(live, "partial_fill", symbol="AAPL", fraction=0.3)
        live.order(client_order_id="one")

        live.step(ticks=1)
        first = look_up(live).json()
        live.step(ticks=1)

        assert (first["status"], first["filled_qty"]) == ("partially_filled", "3")
        assert look_up(live).json()["filled_qty"] == "10"

    def test_rest_of_an_ioc_is_canceled_when_it_filled_in_part(self, live: LiveExchange) -> None:
        arm(live, "partial_fill", fraction=0.3)
        live.order(client_order_id="one", time_in_force="ioc")

        live.step(ticks=1)

        order = look_up(live).json()
        assert (order["status"], order["filled_qty"]) == ("canceled", "3")

    def test_cancel_does_nothing_when_it_is_ignored(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "cancel_ignored", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])

        assert look_up(live).json()["status"] == "new"

    def test_cancel_takes_its_time_when_it_is_pending(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "cancel_pending", route=CANCEL, ticks=2)

        live.trading.cancel_order_by_id(order["id"])

        seen = [look_up(live).json()["status"]]
        for _ in range(2):
            live.step(ticks=1)
            seen.append(look_up(live).json()["status"])
        assert seen == ["pending_cancel", "pending_cancel", "canceled"]

    def test_order_fills_when_the_market_is_quicker_than_its_cancel(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "cancel_pending", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])
        live.step(ticks=1)

        assert look_up(live).json()["status"] == "filled"

    def test_part_that_filled_stays_when_the_rest_is_canceled(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "partial_fill", fraction=0.4)
        arm(live, "cancel_pending", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])
        live.step(ticks=1)

        ended = look_up(live).json()
        assert (ended["status"], ended["filled_qty"]) == ("canceled", "4")

    def test_cancel_never_ends_when_it_is_stuck(self, live: LiveExchange) -> None:
        order = resting(live, time_in_force="gtc")
        arm(live, "cancel_stuck", route=CANCEL)

        live.trading.cancel_order_by_id(order["id"])
        live.step(to="close")
        live.step(to="close")

        assert look_up(live).json()["status"] == "pending_cancel"

    def test_cancel_is_refused_when_the_order_has_just_filled(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "cancel_too_late", route=CANCEL)

        with pytest.raises(APIError) as refused:
            live.trading.cancel_order_by_id(order["id"])

        assert str(refused.value) == '{"code":42210000,"message":"order is already in \\"filled\\" state"}'
        assert live.trading.get_open_position("AAPL").qty == "10"

    def test_old_order_fills_when_its_replacement_was_promised(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "replace_pending", route=REPLACE)
        answer = live.send("PATCH", f"/v2/orders/{order['id']}", json={"qty": "20"})
        between = look_up(live).json()["status"]

        live.step(ticks=1)

        new = live.send("GET", f"/v2/orders/{answer.json()['id']}").json()
        assert (answer.status_code, between) == (200, "pending_replace")
        assert (look_up(live).json()["status"], new["status"]) == ("filled", "rejected")
        assert live.trading.get_open_position("AAPL").qty == "10"

    def test_new_order_takes_over_when_the_old_one_did_not_fill(self, live: LiveExchange) -> None:
        order = resting(live)
        arm(live, "replace_pending", route=REPLACE)
        new = live.send("PATCH", f"/v2/orders/{order['id']}", json={"limit_price": "40"}).json()

        live.step(ticks=1)

        old, taken_over = look_up(live).json(), live.send("GET", f"/v2/orders/{new['id']}").json()
        assert (old["status"], old["replaced_by"]) == ("replaced", new["id"])
        assert (taken_over["status"], taken_over["replaces"]) == ("new", order["id"])

    def test_new_order_has_only_the_rest_when_the_old_one_filled_in_part(self, live: LiveExchange) -> None:
        order = live.order(client_order_id="one").json()
        arm(live, "replace_pending", route=REPLACE)
        arm(live, "partial_fill", fraction=0.4)
        new = live.send("PATCH", f"/v2/orders/{order['id']}", json={"qty": "12"}).json()

        live.step(ticks=1)
        taken_over = live.send("GET", f"/v2/orders/{new['id']}").json()
        live.step(ticks=1)

        assert (taken_over["status"], taken_over["qty"]) == ("new", "8")
        assert live.trading.get_open_position("AAPL").qty == "12"

    @pytest.mark.parametrize("method", ["DELETE", "PATCH"])
    def test_change_is_refused_when_a_replacement_is_pending(self, live: LiveExchange, method: str) -> None:
        order = resting(live)
        arm(live, "replace_pending", route=REPLACE)
        live.send("PATCH", f"/v2/orders/{order['id']}", json={"limit_price": "40"})

        answer = live.send(method, f"/v2/orders/{order['id']}", json={"limit_price": "30"})

        assert (answer.status_code, answer.json()["code"]) == (422, 42210000)


class TestMarketThatIsNotAsUsual:
    def test_order_waits_when_its_symbol_is_halted(self, live: LiveExchange) -> None:
        live.order(client_order_id="before")
        live.sim("POST", "halt", symbol="AAPL")
        sent = live.order(client_order_id="after").json()
        live.step(ticks=3)
        while_halted = [look_up(live, name).json()["status"] for name in ("before", "after")]

        live.sim("POST", "halt", symbol="AAPL", halted=False)
        live.step(ticks=2)

        assert sent["status"] == "accepted"
        assert while_halted == ["new", "accepted"]
        assert [look_up(live, name).json()["status"] for name in ("before", "after")] == ["filled"] * 2

    def test_day_order_expires_when_the_halt_lasts_to_the_close(self, live: LiveExchange) -> None:
        live.sim("POST", "halt", symbol="AAPL")
        live.order(client_order_id="one")

        live.step(to="close")

        assert look_up(live).json()["status"] == "expired"

    @pytest.mark.parametrize(
        ("kind", "is_so"),
        [
            ("quote_locked", lambda quote: quote["bp"] == quote["ap"]),
            ("quote_crossed", lambda quote: quote["bp"] > quote["ap"]),
        ],
    )
    @pytest.mark.parametrize("quotes", [STOCK_QUOTES, CRYPTO_QUOTES])
    def test_quote_is_odd_when_told_so(self, live: LiveExchange, quotes: dict[str, Any], kind: str, is_so: Any) -> None:
        arm(live, kind, route="GET *", count=2)

        told = [read(live.send("GET", path).json()) for path, read in quotes.items()]
        afterwards = [read(live.send("GET", path).json()) for path, read in quotes.items()]

        assert [is_so(quote) for quote in told] == [True, True]
        assert [is_so(quote) for quote in afterwards] == [False, False]

    @pytest.mark.parametrize("quotes", [STOCK_QUOTES, CRYPTO_QUOTES])
    def test_stale_quote_is_the_one_of_then_in_price_and_time(self, live: LiveExchange, quotes: dict[str, Any]) -> None:
        live.step(ticks=1)
        then = [read(live.send("GET", path).json()) for path, read in quotes.items()]
        live.step(ticks=2)
        arm(live, "quote_stale", route="GET *", count=2, delay_ms=600_000)

        stale = [read(live.send("GET", path).json()) for path, read in quotes.items()]

        assert stale == then
        assert [read(live.send("GET", path).json()) for path, read in quotes.items()] != then

    @pytest.mark.parametrize(
        "path",
        [
            "/v2/stocks/quotes?symbols=AAPL&start=2007-01-03T14:30:00Z&limit=10000",
            "/v1beta3/crypto/us/quotes?symbols=BTC/USD&start=2007-01-03T14:30:00Z&limit=10000",
        ],
    )
    def test_past_quotes_end_early_when_they_are_stale(self, live: LiveExchange, path: str) -> None:
        live.step(ticks=3)
        (whole,) = live.send("GET", path).json()["quotes"].values()
        arm(live, "quote_stale", route="GET *", delay_ms=600_000)

        (stale,) = live.send("GET", path).json()["quotes"].values()

        assert stale == [quote for quote in whole if datetime.fromisoformat(quote["t"]) <= TEN_MINUTES_AGO]
        assert 0 < len(stale) < len(whole)

    def test_order_fills_at_the_tapes_quote_when_the_shown_one_is_stale(self, live: LiveExchange) -> None:
        arm(live, "quote_stale", route="GET /v2/stocks/quotes/latest", count=None, delay_ms=3_600_000)
        order = live.order().json()["id"]

        live.step(ticks=1)

        shown = live.send("GET", "/v2/stocks/quotes/latest?symbols=AAPL").json()["quotes"]["AAPL"]
        live.sim("DELETE", "faults")
        real = live.send("GET", "/v2/stocks/quotes/latest?symbols=AAPL").json()["quotes"]["AAPL"]
        filled = float(live.trading.get_order_by_id(order).filled_avg_price)
        assert filled == real["ap"] != shown["ap"]

    def test_bars_are_missing_or_empty_when_told_so(self, live: LiveExchange) -> None:
        path = "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2006-12-01"
        whole = live.send("GET", path).json()["bars"]["AAPL"]
        arm(live, "bars_missing", route="GET /v2/stocks/bars")
        arm(live, "volume_zero", route="GET /v2/stocks/bars")

        gaps, quiet = (live.send("GET", path).json()["bars"]["AAPL"] for _ in range(2))

        assert gaps == whole[::2]
        assert {bar["v"] for bar in quiet} == {0}

    def test_clock_is_wrong_when_it_is_skewed(self, live: LiveExchange) -> None:
        arm(live, "clock_skew", route="GET /v2/clock", delay_ms=-90_000)

        wrong, right = (live.trading.get_clock().timestamp for _ in range(2))

        assert (right - wrong).total_seconds() == 90


class TestAccountInTrouble:
    @pytest.mark.parametrize(
        ("control", "message"),
        [
            ({"trading_blocked": True}, "account is not allowed to trade"),
            ({"account_blocked": True}, "account is blocked"),
        ],
    )
    def test_refuses_every_order_when_it_is_blocked(
        self, holding: LiveExchange, control: dict[str, bool], message: str
    ) -> None:
        holding.sim("PATCH", "account", **control)

        answers = [holding.order(), holding.order(side="sell"), holding.send("DELETE", "/v2/positions/AAPL")]

        assert [(answer.status_code, answer.json()["message"]) for answer in answers] == [(403, message)] * 3
        assert getattr(holding.trading.get_account(), next(iter(control))) is True

    def test_refuses_shorts_when_shorting_is_disabled(self, live: LiveExchange) -> None:
        live.sim("PATCH", "account", shorting_disabled=True)

        answer = live.order(side="sell")

        assert (answer.status_code, answer.json()["message"]) == (403, "account is not allowed to short")
        assert live.trading.get_account().shorting_enabled is False

    def test_position_changes_behind_the_clients_back_when_someone_trades_by_hand(self, holding: LiveExchange) -> None:
        order = holding.sim("POST", "trade", symbol="AAPL", side="sell", qty="4")

        assert (order["status"], order["filled_qty"]) == ("filled", "4")
        assert holding.trading.get_open_position("AAPL").qty == "6"
        assert holding.sim("GET", "ledger")["ok"] is True

    def test_controls_are_kept_when_the_exchange_restarts(self, live: LiveExchange) -> None:
        live.sim("PATCH", "account", trading_blocked=True)
        live.sim("POST", "halt", symbol="MSFT")

        live.restart()

        controls = live.sim("GET", "account")
        assert (controls["trading_blocked"], controls["halted"]) == (True, ["MSFT"])
