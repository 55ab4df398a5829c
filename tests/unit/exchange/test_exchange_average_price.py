"""The average entry price: weighted within a day, first in first out by days from the next one on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from local.exchange.trading.account import Account, Fill, Position, Split
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.order import Side, Status

NOW = datetime(2007, 1, 3, tzinfo=UTC)
CENT = Decimal("0.01")
Trade = tuple[int, str]  # shares (negative: sold), and their price


def fill(qty: int, price: str | Decimal) -> Fill:
    return Fill(
        seq=1,
        id="",
        order_id="",
        symbol="AAPL",
        side=Side.BUY if qty > 0 else Side.SELL,
        qty=Decimal(abs(qty)),
        price=Decimal(price),
        amount=Decimal(0),
        at=NOW,
        cum_qty=Decimal(0),
        leaves_qty=Decimal(0),
        order_status=Status.FILLED,
    )


def after_days(*days: list[Trade]) -> Position:
    """Return the position on the morning after the last day."""
    account = Account("id", NOW)
    for day in days:
        for trade in day:
            account.apply(fill(*trade))
        for position in account.positions.values():
            position.settle()
    return account.positions["AAPL"]


class TestAlpacasOwnExamples:
    def test_shares_of_the_first_day_go_first_at_their_average(self) -> None:
        position = after_days([(100, "10"), (50, "12")], [(30, "15")], [(-120, "14")])

        assert (position.qty, position.cost_basis.quantize(CENT)) == (60, Decimal("770.00"))
        assert position.avg_price.quantize(CENT) == Decimal("12.83")

    def test_a_days_own_sale_is_taken_from_all_of_its_purchases_together(self) -> None:
        position = after_days([(100, "10"), (50, "9"), (-50, "10"), (50, "11")])

        assert (position.cost_basis, position.avg_price) == (1500, 10)

    def test_within_the_day_it_is_the_weighted_average(self) -> None:
        account = Account("id", NOW)
        for day in ([(100, "10"), (50, "12")], [(30, "15")]):
            for trade in day:
                account.apply(fill(*trade))
            account.positions["AAPL"].settle()
        account.apply(fill(-120, "14"))

        assert account.positions["AAPL"].cost_basis.quantize(CENT) == Decimal("683.33")


def test_short_position_is_counted_the_same_way() -> None:
    position = after_days([(-100, "10"), (-50, "12")], [(-30, "15")], [(120, "14")])

    assert (position.qty, position.avg_price.quantize(CENT)) == (-60, Decimal("12.83"))


def test_split_leaves_the_cost_and_doubles_the_shares_of_every_lot() -> None:
    whole = after_days([(100, "10")], [(30, "16")])
    whole.split(2)
    account = Account("id", NOW, positions={"AAPL": whole})

    account.apply(fill(-100, "7"))
    whole.settle()

    assert (whole.qty, whole.cost_basis) == (160, 100 * 5 + 60 * 8)


def test_position_of_a_ledger_that_kept_no_lots_is_one_lot_at_its_average() -> None:
    held = Position("AAPL", Decimal(100), Decimal(10))
    account = Account("id", NOW, positions={"AAPL": held})

    account.apply(fill(50, "13"))
    account.apply(fill(-100, "12"))
    held.settle()

    assert (held.qty, held.avg_price) == (50, 13)


PRICES = st.decimals("0.01", 500, places=2)
DAYS = st.lists(st.lists(st.tuples(st.integers(-200, 200).filter(bool), PRICES), max_size=4), min_size=1, max_size=5)


@given(days=DAYS, ratio=st.sampled_from([1, 2, 3]))
def test_lots_are_the_whole_position_and_the_average_lies_among_the_prices_paid(
    days: list[list[tuple[int, Decimal]]], ratio: int
) -> None:
    account = Account("id", NOW)
    paid: list[Decimal] = []
    for day in days:
        for qty, price in day:
            account.apply(fill(qty, price))
            paid.append(price)
        for position in account.positions.values():
            position.settle()
        account.apply_split(Split(seq=1, symbol="AAPL", ratio=ratio, at=NOW))
        paid = [price / ratio for price in paid]

    for position in account.positions.values():
        lots = position._known_lots()
        assert sum(qty for qty, _ in lots) == abs(position.qty)
        assert min(paid) - CENT <= position.avg_price <= max(paid) + CENT


def test_position_that_was_closed_begins_anew() -> None:
    assert after_days([(100, "10")], [(-100, "11"), (40, "20")]).avg_price == 20


def test_exchange_counts_again_at_the_next_open_and_keeps_that_over_a_restart(found: Callable[..., Exchange]) -> None:
    exchange = found()
    order = {"symbol": "AAPL", "qty": "100", "side": "buy", "type": "market", "time_in_force": "day"}
    exchange.step_to_open()
    exchange.submit(order)
    exchange.step_to_open()
    exchange.submit(order)
    exchange.step()
    exchange.submit(order | {"side": "sell"})
    exchange.step()
    first, second, _ = (each.price for each in exchange.ledger.store.fills())
    within_the_day = exchange.account.positions["AAPL"].avg_price

    exchange.step_to_open()

    assert within_the_day == (first + second) / 2 != second
    assert exchange.account.positions["AAPL"].avg_price == second
    assert list(exchange.ledger.store.positions()) == list(exchange.account.positions.values())
