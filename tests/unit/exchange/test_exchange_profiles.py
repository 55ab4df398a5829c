"""The three ways in which orders fill."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from local.exchange.market.calendar import Moment
from local.exchange.market.market import Tick
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.hours import Clock
from local.exchange.trading.matching import (
    PARTICIPATION_MAX,
    Conditions,
    FillProfile,
    fill_price,
    fill_quantity,
    in_turn,
)
from local.exchange.trading.order import Intent, Order, OrderClass, OrderType, Side, Status, TimeInForce

NOON = datetime(2007, 1, 3, 17, tzinfo=UTC)
TICK = Tick("AAPL", NOON, *map(Decimal, ("10.00", "9.98", "10.02")), bid_size=100, ask_size=100, size=100)


def order(side: str = "buy", kind: str = "market", qty: int = 10, **fields: object) -> Order:
    prices = {name: Decimal(str(fields.pop(name))) for name in ("limit_price", "stop_price") if name in fields}
    return Order(
        id="1",
        seq=1,
        client_order_id="1",
        symbol="AAPL",
        side=Side(side),
        type=OrderType(kind),
        time_in_force=TimeInForce(str(fields.pop("tif", "day"))),
        order_class=OrderClass.SIMPLE,
        intent=Intent.of(Side(side), closes=False),
        qty=Decimal(qty),
        status=Status.NEW,
        submitted_at=NOON,
        updated_at=NOON,
        triggered=bool(fields.pop("triggered", False)),
        **prices,
    )


def conservative(volume: int = 100_000) -> Conditions:
    return Conditions(FillProfile.CONSERVATIVE, 7, Clock(Moment(1, 1)), TICK, Decimal(volume))


class TestConservative:
    @pytest.mark.parametrize(
        ("sent", "price"),
        [
            (order(), "10.04"),  # half a spread above the ask
            (order("sell"), "9.96"),
            (order(kind="limit", limit_price="10.03"), "10.02"),  # traded through
            (order(kind="limit", limit_price="10.02"), None),  # only touched
            (order("sell", "limit", limit_price="9.98"), None),
            (order("sell", "limit", limit_price="9.97"), "9.98"),
            (order(kind="stop", stop_price="10.00", triggered=True), "10.04"),
            (order(kind="stop", stop_price="9.60", triggered=True), None),  # over 4 % above its stop
            (order("sell", "stop", stop_price="11", triggered=True), "9.96"),  # a sale has no such collar
        ],
    )
    def test_price_is_worse_than_the_quote(self, sent: Order, price: str | None) -> None:
        assert fill_price(sent, conservative()) == (None if price is None else Decimal(price))

    def test_large_order_moves_the_price_when_it_takes_a_share_of_the_volume(self) -> None:
        small, large = (fill_price(order(qty=qty), conservative(2_000)) for qty in (1, 50))

        assert small is not None
        assert large is not None
        assert large >= small

    def test_orders_share_a_part_of_the_volume_when_they_meet_on_one_tick(self) -> None:
        now = conservative(volume=2_000)

        first = fill_quantity(order(qty=30), now)
        assert now.liquidity is not None
        now.liquidity -= first
        second = fill_quantity(order(qty=30), now)

        assert (first, second) == (30, 20)
        assert first + second == 2_000 * PARTICIPATION_MAX

    def test_better_price_comes_first_and_then_the_earlier_order_when_volume_is_short(self) -> None:
        limits = ["10.03", "10.20", None, "10.20", "10.10"]
        orders = []
        for number, limit in enumerate(limits):
            orders.append(order(kind="limit", limit_price=limit) if limit else order())
            orders[-1].seq = number

        turns = [each.seq for each in in_turn(orders, conservative())]

        assert turns == [2, 1, 3, 4, 0]

    def test_fill_or_kill_gets_nothing_when_the_volume_is_too_small(self) -> None:
        assert fill_quantity(order(qty=80, tif="fok"), conservative(2_000)) == 0
        assert fill_quantity(order(qty=50, tif="fok"), conservative(2_000)) == 50

    def test_large_order_fills_over_many_ticks_and_never_faster_than_allowed(
        self, found: Callable[..., Exchange]
    ) -> None:
        exchange = found(profile=FillProfile.CONSERVATIVE)
        exchange.step_to_open()
        body = {"symbol": "IBM", "qty": "3900", "side": "buy", "type": "market", "time_in_force": "gtc"}
        exchange.submit(body)

        exchange.step(40)

        fills = list(exchange.ledger.store.fills())
        assert len(fills) > 1
        assert sum(fill.qty for fill in fills) <= 3900
        for fill in fills:
            moment = exchange.market.calendar.index_from(fill.at.date())
            tick = (fill.at - exchange.market.calendar[moment].opens).seconds // 300
            volume = exchange.market.path("IBM", moment).volumes[max(0, tick - 1)]
            assert fill.qty <= volume * PARTICIPATION_MAX + 1


class TestAlpacaPaper:
    def test_one_fill_in_ten_is_partial_when_many_are_looked_at(self) -> None:
        drawn = []
        for number in range(2_000):
            sent = order(qty=50)
            sent.seq = number
            now = Conditions(FillProfile.ALPACA_PAPER, 7, Clock(Moment(1, 1)), TICK, Decimal(0))
            drawn.append(fill_quantity(sent, now))

        partial = [qty for qty in drawn if qty < 50]
        assert 150 < len(partial) < 250
        assert len(set(partial)) > 30  # of random size

    @pytest.mark.parametrize("seed", [1, 2])
    def test_draws_the_same_when_the_seed_is_the_same(self, seed: int) -> None:
        runs = []
        for _ in "ab":
            now = [Conditions(FillProfile.ALPACA_PAPER, seed, Clock(Moment(1, n)), TICK, Decimal(0)) for n in range(50)]
            runs.append([fill_quantity(order(qty=50), each) for each in now])

        assert runs[0] == runs[1]


class TestChoice:
    def test_takes_effect_from_the_next_tick_when_it_is_changed(self, found: Callable[..., Exchange]) -> None:
        exchange = found(profile=FillProfile.IDEAL)
        exchange.step_to_open()
        body = {"symbol": "IBM", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        for profile in (FillProfile.IDEAL, FillProfile.CONSERVATIVE):
            exchange.profile = profile
            exchange.submit(body)
            exchange.step()

        ideal, worse = exchange.ledger.store.fills()
        asks = [exchange.market.tick("IBM", Moment(exchange.ledger.moment.session, tick)).ask for tick in (1, 2)]
        assert ideal.price == asks[0]
        assert worse.price > asks[1]
