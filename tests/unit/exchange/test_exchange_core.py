"""The exchange's rules that need days of simulated time, or a look inside the ledger."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import pytest

from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.tape import Tape
from local.exchange.trading import lifecycle
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.invariants import InvariantBroken
from local.exchange.trading.ledger import Listener, Update
from local.exchange.trading.listing import Direction, OrderFilter, Wanted, list_orders
from local.exchange.trading.matching import FillProfile
from local.exchange.trading.order import NEXT_STATES, IllegalTransition, Order, Side, Status


def submit(exchange: Exchange, **fields: object) -> Order:
    body = {"symbol": "AAPL", "qty": "100", "side": "buy", "type": "market"}
    return exchange.submit(body | {"time_in_force": "gtc"} | fields)


def bracket(exchange: Exchange, **fields: object) -> Order:
    exits = {"take_profit": {"limit_price": "500"}, "stop_loss": {"stop_price": "1"}}
    return submit(exchange, order_class="bracket", **(exits | fields))


class TestSimulatedTime:
    def test_order_is_good_for_ninety_days_when_good_till_canceled(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        order = submit(exchange, type="limit", limit_price="1")

        while exchange.order(order.id).is_open:
            exchange.step_to_close()

        ended = exchange.order(order.id)
        last_day = order.submitted_at.astimezone(NEW_YORK).date() + timedelta(days=90)
        assert ended.status is Status.CANCELED
        assert ended.expires_at.astimezone(NEW_YORK) == datetime.combine(last_day, time(16, 15), NEW_YORK)
        assert ended.canceled_at.astimezone(NEW_YORK).date() == last_day

    def test_position_and_orders_double_when_the_stock_splits(self, found: Callable[..., Exchange]) -> None:
        exchange = found(start=date(2005, 2, 25))
        exchange.step_to_open()
        exits = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "40.01"}}
        order = bracket(exchange, **exits)
        exchange.step_to_close()
        before = exchange.valuation().equity

        exchange.step_to_open()

        profit, stop = exchange.legs(order)
        assert exchange.account.qty("AAPL") == 200
        assert (profit.qty, profit.limit_price) == (200, Decimal(60))
        assert (stop.qty, stop.stop_price) == (200, Decimal("20.00"))
        assert abs(exchange.valuation().equity - before) < before * Decimal("0.01")
        assert check_ledger(exchange.ledger.store) == []

    def test_stops_and_the_market_stays_closed_when_the_tape_ends(self, found: Callable[..., Exchange]) -> None:
        exchange = found(start=date(2013, 2, 28))

        for _ in range(4):
            exchange.step_to_close()

        end = exchange.ledger.moment
        exchange.step(10)
        exchange.skip_night()
        assert exchange.ledger.moment == end
        assert not exchange.ledger.is_open

    def test_goes_on_at_the_next_open_when_minutes_lead_past_the_close(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        exchange.step_to_close()

        exchange.step_minutes(60)

        assert exchange.ledger.now.isoformat() == "2007-01-04T15:30:00+00:00"

    def test_orders_end_three_hours_sooner_when_the_session_closes_early(self, found: Callable[..., Exchange]) -> None:
        exchange = found(start=date(2007, 7, 3))
        exchange.step_to_open()
        kinds = ({"extended_hours": False}, {"extended_hours": True})
        regular, extended = (
            submit(exchange, type="limit", limit_price="1", time_in_force="day", **kind) for kind in kinds
        )

        exchange.step_to_close()
        exchange.step(48)

        ended = [exchange.order(order.id).expired_at for order in (regular, extended)]
        assert [at.astimezone(NEW_YORK).strftime("%d %H:%M") for at in ended if at] == ["03 13:00", "03 17:00"]

    def test_open_is_an_hour_earlier_in_universal_time_when_summer_time_has_begun(
        self, found: Callable[..., Exchange]
    ) -> None:
        exchange = found(start=date(2007, 3, 9))
        opens = []
        for _ in range(2):
            exchange.step_to_open()
            opens.append(exchange.ledger.now.strftime("%d %H:%M"))

        assert opens == ["09 14:30", "12 13:30"]

    def test_no_two_events_share_a_time_when_the_clock_stands_still(self, found: Callable[..., Exchange]) -> None:
        exchange = found()

        times = [submit(exchange).submitted_at for _ in range(5)]

        assert times == sorted(set(times))


class TestPartialFills:
    def test_fill_the_whole_order_in_the_end_when_the_profile_allows_them(self, found: Callable[..., Exchange]) -> None:
        exchange = found(profile=FillProfile.ALPACA_PAPER)
        exchange.step_to_open()
        for _ in range(60):
            submit(exchange, qty="20")

        exchange.step(12)

        fills = list(exchange.ledger.store.fills())
        assert exchange.account.qty("AAPL") == 1200
        assert 60 < len(fills) < 90

    def test_never_happen_when_the_profile_is_ideal(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        exchange.step_to_open()
        for _ in range(60):
            submit(exchange, qty="20")

        exchange.step()

        assert len(list(exchange.ledger.store.fills())) == 60

    def test_shrink_the_stop_when_the_take_profit_is_partly_filled(self, found: Callable[..., Exchange]) -> None:
        exchange = found(profile=FillProfile.ALPACA_PAPER)
        exchange.step_to_open()
        orders = [bracket(exchange, qty="20") for _ in range(40)]
        exchange.step(6)
        exchange.shock("AAPL", Decimal(9))

        exchange.step()

        pairs = [exchange.legs(order) for order in orders]
        partly = [pair for pair in pairs if pair[0].status is Status.PARTIALLY_FILLED]
        assert partly
        assert all(stop.qty == profit.remaining for profit, stop in partly)


class TestGroups:
    def test_exits_cover_only_what_is_left_when_part_of_the_entry_was_sold_already(
        self, found: Callable[..., Exchange]
    ) -> None:
        exchange = found()
        exchange.step_to_open()
        entry = exchange.order(bracket(exchange).id)
        with exchange.ledger.transaction():
            lifecycle.execute(exchange.ledger, entry, Decimal(40), Decimal(86))
        submit(exchange, side="sell", qty="30")

        exchange.step()

        assert exchange.account.qty("AAPL") == 70
        assert [leg.qty for leg in exchange.legs(entry)] == [70, 70]

    def test_exits_follow_when_their_entry_is_replaced(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        exchange.step_to_open()
        entry = bracket(exchange, type="limit", limit_price="20", stop_loss={"stop_price": "19"})
        taken_over = exchange.replace(entry.id, {"limit_price": "90", "qty": "50"})

        exchange.step()

        legs = exchange.legs(taken_over)
        assert exchange.order(taken_over.id).status is Status.FILLED
        assert [(leg.status, leg.qty) for leg in legs] == [(Status.NEW, 50), (Status.HELD, 50)]
        assert exchange.legs(entry) == []


class TestAverageEntryPrice:
    def test_is_weighted_when_shares_are_added_and_kept_when_some_are_sold(
        self, found: Callable[..., Exchange]
    ) -> None:
        exchange = found()
        exchange.step_to_open()
        for side, qty in (("buy", "100"), ("buy", "300"), ("sell", "50")):
            submit(exchange, side=side, qty=qty)
            exchange.step()

        first, second, _ = exchange.ledger.store.fills()

        expected = (100 * first.price + 300 * second.price) / 400
        assert first.price != second.price
        assert exchange.account.positions["AAPL"].avg_price == expected


class TestDeterminism:
    def test_tape_and_fills_are_the_same_when_seed_and_ledger_are(self, found: Callable[..., Exchange]) -> None:
        runs = [_scripted_run(found(profile=FillProfile.ALPACA_PAPER, ledger_id=_ID)) for _ in "ab"]

        assert runs[0] == runs[1]
        assert len(runs[0]) > 20

    def test_ids_differ_when_the_ledger_is_another(self, found: Callable[..., Exchange]) -> None:
        first, second = (submit(found()) for _ in range(2))

        assert first.id != second.id


class TestLedger:
    def test_ids_are_those_of_the_standard_when_they_are_derived(self, found: Callable[..., Exchange]) -> None:
        ledger_id = UUID("7d1e3a52-3a5c-4b1e-9a50-0123456789ab")
        ledger = found(ledger_id=str(ledger_id)).ledger

        names = [str(number) for number in range(50)]  # every variant of an id among them

        assert [ledger.derived_id(name) for name in names] == [str(uuid5(ledger_id, name)) for name in names]

    def test_update_goes_to_those_alone_who_listen_when_it_is_told(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        exchange.step_to_open()
        heard: list[Update] = []
        ignored: list[Update] = []
        exchange.ledger.listeners += [Listener(heard.append, lambda: True), Listener(ignored.append, lambda: False)]

        submit(exchange)

        assert [(update.event, update.order.status) for update in heard] == [("new", Status.NEW)]
        assert ignored == []

    def test_forgets_everything_when_a_change_breaks_off(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        exchange.step_to_open()
        order = submit(exchange)
        before = deepcopy(_picture(exchange))

        with pytest.raises(ZeroDivisionError), exchange.ledger.transaction():
            exchange.ledger.fill(exchange.order(order.id), Decimal(100), Decimal(80))
            _ = 1 / 0

        assert _picture(exchange) == before

    def test_refuses_a_fill_when_it_is_larger_than_the_rest(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        order = submit(exchange)

        with pytest.raises(InvariantBroken), exchange.ledger.transaction():
            exchange.ledger.fill(exchange.order(order.id), Decimal(101), Decimal(80))

    def test_check_names_the_contradiction_when_cash_was_tampered_with(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        store = exchange.ledger.store

        store._db.execute("update state set cash = '100001'")

        assert check_ledger(store) == ["cash is 100001, the fills say 100000.00"]

    def test_opens_and_goes_on_when_it_was_written_by_an_earlier_version(
        self, found: Callable[..., Exchange], tape: Tape
    ) -> None:
        exchange = found()
        exchange.step_to_open()
        submit(exchange)
        exchange.step()
        store, before = exchange.ledger.store, exchange.account.cash
        for table, column in ADDED_SINCE:
            store._db.execute(f"alter table {table} drop column {column}")
        for table in ("accounts", "halts"):
            store._db.execute(f"drop table {table}")
        store.close()

        later = open_exchange(store.path, tape, Birth(seed=7, start=date(2007, 1, 3)))

        order = submit(later, side="sell", type="trailing_stop", trail_percent="1")
        assert (later.account.cash, later.account.qty("AAPL")) == (before, 100)
        assert later.order(order.id).hwm is not None
        later.ledger.store.close()

    @pytest.mark.parametrize("status", list(Status))
    def test_ended_order_stays_as_it_is_when_asked_to_move(
        self, found: Callable[..., Exchange], status: Status
    ) -> None:
        exchange = found()
        order = exchange.order(submit(exchange).id)
        order.status = Status.FILLED

        with pytest.raises(IllegalTransition):
            order.move_to(status, exchange.ledger.now)

    def test_every_state_has_its_exits_listed(self) -> None:
        assert set(NEXT_STATES) == set(Status)


_ID = str(UUID(int=7))
ADDED_SINCE = [
    *(("orders", name) for name in ("notional", "trail_price", "trail_percent", "hwm", "awaits", "due", "failed_at")),
    *(("state", name) for name in ("after", "controls", "opening_cash")),
    ("fills", "fee"),
    *(("positions", name) for name in ("lots", "opened_qty", "opened_cost", "closed_qty")),
]


def _picture(exchange: Exchange) -> tuple[object, ...]:
    return list(exchange.ledger.book), exchange.ledger.state, exchange.account


def _scripted_run(exchange: Exchange) -> list[object]:
    """Trade the same way for three sessions; return every fill."""
    for number in range(21):
        exchange.step_minutes(60)
        side = "sell" if exchange.account.qty("MSFT") else "buy"
        body = {"symbol": "MSFT", "qty": "50", "side": side, "type": "market"}
        exchange.submit(body | {"time_in_force": "day", "client_order_id": f"order-{number}"})
        exchange.step(3)
    return list(exchange.ledger.store.fills())


class TestLongLists:
    @pytest.mark.parametrize("bound", ["after", "until", "after_seq", "before_seq"])
    def test_page_is_found_by_an_index_wherever_it_begins(self, found: Callable[..., Exchange], bound: str) -> None:
        """A page that reads the rows before it makes listing a long ledger quadratic."""
        exchange = found()
        order = submit(exchange, type="limit", limit_price="1")
        asked: list[str] = []
        exchange.ledger.store._db.set_trace_callback(asked.append)

        exchange.orders(OrderFilter(status=Wanted.ALL, **{bound: order.seq if "seq" in bound else order.submitted_at}))

        exchange.ledger.store._db.set_trace_callback(None)
        plan = exchange.ledger.store._db.execute(f"explain query plan {asked[-1]}").fetchall()
        assert len(plan) == 1  # no sorting either
        assert plan[0][3].startswith("SEARCH orders USING INDEX")

    def test_open_orders_are_listed_from_memory_as_the_ledger_has_them(self, found: Callable[..., Exchange]) -> None:
        exchange = found()
        exchange.step_to_open()
        orders = [submit(exchange, type="limit", limit_price=price, symbol="MSFT") for price in ("1", "2", "3")]
        orders.append(bracket(exchange))
        exchange.step(2)
        middle = orders[1]
        bounds = [{"after": middle.submitted_at}, {"until": middle.submitted_at}, {"after_seq": middle.seq}]
        others = [{}, {"before_seq": middle.seq}, {"side": Side.SELL}, {"symbols": ("MSFT",)}, {"limit": 2}]

        for wanted in (
            OrderFilter(**each, direction=direction) for each in [*bounds, *others] for direction in Direction
        ):
            assert exchange.orders(wanted) == list_orders(exchange.ledger.store, wanted)

        assert len(exchange.orders(OrderFilter())) == 4
        assert exchange.legs_by_parent(orders) == {orders[-1].id: exchange.legs(orders[-1])}
