"""Slippage is what a fill cost more than was meant, whichever way it went."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.execution import in_basis_points, slippage


def fills(*rows: tuple[str, str, float, float, float | None]) -> pd.DataFrame:
    """Return fills as (purpose, side, quantity, price, the price that was meant)."""
    found = pd.DataFrame(rows, columns=["purpose", "side", "qty", "price", "meant"])
    return found.assign(reference_price=found["meant"], stop_price=found["meant"], limit_price=found["meant"])


@pytest.mark.parametrize(
    ("purpose", "side", "price", "cost_usd"),
    [
        ("entry", "buy", 101.0, 10.0),  # bought dearer than the quote
        ("entry", "sell", 101.0, -10.0),  # sold short for more
        ("stop_loss", "sell", 98.5, 15.0),  # the price fell through the stop
        ("take_profit", "buy", 99.0, -10.0),  # bought back below the target
    ],
)
def test_what_is_worse_for_us_is_above_zero(purpose: str, side: str, price: float, cost_usd: float) -> None:
    found = slippage(fills((purpose, side, 10, price, 100.0)))

    assert found["slippage_usd"].tolist() == [cost_usd]
    assert in_basis_points(found) == pytest.approx(cost_usd / 1000 * 10_000)


def test_each_purpose_is_held_against_the_price_that_it_was_meant_at() -> None:
    row = fills(("entry", "buy", 1, 10.0, None), ("stop_loss", "sell", 1, 10.0, None))
    row = row.assign(reference_price=9.0, stop_price=11.0, limit_price=500.0)

    assert slippage(row)["slippage_usd"].tolist() == [1.0, 1.0]


def test_exits_at_market_and_fills_without_a_meant_price_are_left_out() -> None:
    found = slippage(fills(("exit", "sell", 10, 99.0, 100.0), ("entry", "buy", 10, 99.0, None)))

    assert found.empty
    assert in_basis_points(found) != in_basis_points(found)


price = st.floats(1, 1000)


@given(st.lists(st.tuples(st.sampled_from(["entry", "stop_loss"]), st.sampled_from(["buy", "sell"]),
                          st.floats(1, 100), price, price), min_size=1, max_size=20))  # fmt: skip
def test_parts_add_up_to_the_whole(rows: list[tuple[str, str, float, float, float]]) -> None:
    found = slippage(fills(*rows))

    by_purpose = found.groupby("purpose")["slippage_usd"].sum().sum()
    assert by_purpose == pytest.approx(sum((p - m) * q * (1 if side == "buy" else -1) for _, side, q, p, m in rows))
