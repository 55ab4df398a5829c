"""Crypto: fees, minimum sizes, balances, and trading around the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.tape import Tape
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.errors import Refusal
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.order import Order, Status


@pytest.fixture
def exchange(tmp_path: Path, tape: Tape) -> Iterator[Exchange]:
    """An exchange in the middle of a session."""
    birth = Birth(seed=7, start=date(2007, 1, 3))
    opened = open_exchange(tmp_path / "ledger.sqlite", tape, birth, FillProfile.IDEAL)
    opened.step_to_open()
    yield opened
    assert check_ledger(opened.ledger.store) == []
    opened.ledger.store.close()


def submit(exchange: Exchange, **fields: object) -> Order:
    body = {"symbol": "BTC/USD", "qty": "1", "side": "buy", "type": "market", "time_in_force": "gtc"}
    placed = exchange.submit({name: value for name, value in (body | fields).items() if value is not None})
    return exchange.order(placed.id)


class TestFees:
    def test_are_taken_from_the_coins_when_bought_at_the_market(self, exchange: Exchange) -> None:
        order = submit(exchange)

        exchange.step()

        assert (order.status, order.filled_qty) == (Status.FILLED, 1)
        assert exchange.account.qty("BTC/USD") == Decimal("0.9975")

    def test_are_taken_from_the_dollars_when_sold(self, exchange: Exchange) -> None:
        submit(exchange)
        exchange.step()
        before = exchange.account.cash
        submit(exchange, side="sell", qty="0.9975")

        exchange.step()

        *_, sale = exchange.ledger.store.fills()
        gross = (sale.qty * sale.price).quantize(Decimal("0.01"))
        assert 0 < sale.fee - gross * Decimal("0.0025") < Decimal("0.011")
        assert exchange.account.cash - before == gross - sale.fee
        assert exchange.account.positions == {}

    def test_are_lower_when_a_limit_has_rested(self, exchange: Exchange) -> None:
        tick = exchange.market.tick("BTC/USD", exchange.ledger.moment)
        submit(exchange, type="limit", limit_price=str(round(tick.bid * Decimal("0.95"), 2)))
        exchange.step(3)

        exchange.shock("BTC/USD", Decimal("-0.1"))
        exchange.step()

        assert exchange.account.qty("BTC/USD") == Decimal("0.9985")

    def test_leave_nothing_past_the_ninth_decimal(self, exchange: Exchange) -> None:
        submit(exchange, qty="0.123456789")

        exchange.step()

        held = exchange.account.qty("BTC/USD")
        assert held == round(held, 9)
        assert held == Decimal("0.123148147")


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "status", "message"),
        [
            ({"time_in_force": "day"}, 422, "invalid crypto time_in_force"),
            ({"type": "limit", "limit_price": "9", "time_in_force": "fok"}, 422, "invalid crypto time_in_force"),
            (
                {"type": "stop_limit", "limit_price": "9", "stop_price": "9", "time_in_force": "ioc"},
                422,
                "invalid crypto time_in_force",
            ),
            ({"type": "stop", "stop_price": "9"}, 422, "invalid order type stop for crypto order"),
            (
                {"order_class": "oto", "take_profit": {"limit_price": "99999"}},
                422,
                "crypto orders must be simple orders",
            ),
            (
                {"type": "limit", "limit_price": "9", "extended_hours": True},
                422,
                "crypto orders have no extended hours",
            ),
            ({"qty": "0.0001"}, 403, "cost basis must be >= minimal amount of order 10"),
            ({"qty": None, "notional": "9.99"}, 403, "cost basis must be >= minimal amount of order 10"),
            (
                {"symbol": "ETH/USD", "side": "sell"},
                403,
                "insufficient balance for ETH (requested: 1, available: 0)",
            ),
        ],
    )
    def test_have_alpacas_words(self, exchange: Exchange, fields: dict[str, Any], status: int, message: str) -> None:
        with pytest.raises(Refusal) as refused:
            submit(exchange, **fields)

        assert (refused.value.status, refused.value.body["message"]) == (status, message)

    def test_selling_back_what_was_ordered_is_refused_since_the_fee_is_gone(self, exchange: Exchange) -> None:
        submit(exchange)
        exchange.step()

        with pytest.raises(Refusal, match=r"insufficient balance for BTC \(requested: 1, available: 0.9975\)"):
            submit(exchange, side="sell")

    def test_no_margin_is_lent_when_the_money_is_used_up(self, exchange: Exchange) -> None:
        with pytest.raises(Refusal, match="insufficient balance for USD"):
            submit(exchange, qty="12")

        assert exchange.valuation().buying_power == 400_000


class TestAroundTheClock:
    def test_order_fills_in_the_night_when_the_market_is_closed(self, exchange: Exchange) -> None:
        exchange.step_to_close()
        order = submit(exchange)

        exchange.step()

        assert not exchange.ledger.is_open
        assert order.status is Status.FILLED

    def test_every_five_minutes_are_walked_when_an_order_rests_over_night(self, exchange: Exchange) -> None:
        exchange.step_to_close()
        submit(exchange, type="limit", limit_price="10")

        ticks = 0
        while not exchange.ledger.clock.is_open_tick:
            exchange.step()
            ticks += 1

        assert ticks == 17.5 * 12

    def test_shares_do_not_trade_at_midnight_when_coins_do(self, exchange: Exchange) -> None:
        exchange.step_to_close()
        submit(exchange, type="limit", limit_price="10")
        exchange.step(48)  # eight in the evening: extended hours are over
        share = {"symbol": "IBM", "type": "limit", "limit_price": "900", "extended_hours": True}
        late = submit(exchange, **share)

        exchange.step(24)
        at_ten = late.status
        exchange.step(75)

        assert at_ten is Status.ACCEPTED
        assert late.filled_at is not None
        assert late.filled_at.astimezone(NEW_YORK).strftime("%H:%M") == "04:00"

    def test_time_jumps_to_the_open_when_nothing_could_trade(self, exchange: Exchange) -> None:
        exchange.step_to_close()

        exchange.step()

        assert exchange.ledger.clock.is_open_tick


class TestDollars:
    def test_buy_as_much_as_they_are_worth_when_filled(self, exchange: Exchange) -> None:
        before = exchange.account.cash
        submit(exchange, qty=None, notional="500")

        exchange.step()

        assert before - exchange.account.cash == 500


def test_closing_a_position_sells_what_is_left_after_fees(exchange: Exchange) -> None:
    submit(exchange)
    exchange.step()

    exchange.close_position("BTC/USD", exchange.account.qty("BTC/USD"))
    exchange.step()

    assert exchange.account.positions == {}
