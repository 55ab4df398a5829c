"""How well orders were filled is told in money, in basis points and in words, and a cost is never a gain."""

import pandas as pd
import pytest

from engine.domain.execution import slippage
from pages.components.execution import execution_figures, slippage_figure


def orders(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    """Return orders as (purpose, side, filled quantity, average price, the price that was meant)."""
    found = pd.DataFrame(rows, columns=["purpose", "side", "filled_qty", "filled_avg_price", "meant"])
    return found.assign(qty=99.0, reference_price=found["meant"], stop_price=found["meant"], limit_price=found["meant"])


def test_a_trades_slippage_counts_what_was_filled_at_the_prices_that_were_meant() -> None:
    found = slippage_figure(orders(("entry", "buy", 10, 101.0, 100.0), ("stop_loss", "sell", 10, 94.0, 95.0),
                                   ("take_profit", "sell", 0, float("nan"), 120.0)))  # fmt: skip

    assert (found.value, found.note) == ("-$20.00", "+102.6 bp of cost")


def test_a_trade_that_was_meant_at_no_price_has_none() -> None:
    assert slippage_figure(orders(("exit", "sell", 10, 94.0, 95.0))).value == "–"


@pytest.mark.parametrize(
    ("price", "value", "note", "tone"),
    [
        (101.0, "100.0 bp worse", "-$10.00 in 1 fill", "bad"),
        (99.0, "100.0 bp better", "+$10.00 in 1 fill", "good"),
        (100.0, "0.0 bp", "$0.00 in 1 fill", "plain"),
    ],
)
def test_worse_and_better_are_said_in_words(price: float, value: str, note: str, tone: str) -> None:
    fills = orders(("entry", "buy", 10, price, 100.0)).assign(qty=10.0, price=price)

    everything, entries, stops, targets = execution_figures(slippage(fills))

    assert (everything.value, everything.note, everything.tone) == (value, note, tone)
    assert entries.value == value
    assert stops.value == targets.value == "–"
