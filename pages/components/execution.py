"""How steady results were, and how well orders were filled."""

import pandas as pd
import streamlit as st

from db.queries.trades import priced_fills
from engine.domain.execution import in_basis_points, slippage
from engine.domain.metrics import rolling_beta, rolling_sharpe
from pages.charts.rolling import rolling_figure, rolling_in_words
from pages.components.figures import Figure, figures
from pages.components.formats import NOTHING, count, signed_money
from pages.components.messages import show_empty
from pages.components.performance import Outcome
from pages.session.guard import Session

WINDOW_SESSIONS = 63  # a quarter of a year
_MEANT = {
    "entry": ("Entries", "the quote that the entry was decided by"),
    "stop_loss": ("Stops", "the stop's price"),
    "take_profit": ("Targets", "the target's price"),
}


def rolling(outcome: Outcome) -> None:
    """Show Sharpe ratio and beta over the last quarter of a year, for each session that has one behind it."""
    sharpe = rolling_sharpe(outcome.returns, WINDOW_SESSIONS)
    beta = rolling_beta(outcome.returns, outcome.benchmark, WINDOW_SESSIONS)
    if sharpe.empty:
        st.caption(f"A longer period shows how steady this was: {WINDOW_SESSIONS} sessions are needed for one point.")
        return
    st.plotly_chart(rolling_figure(sharpe, beta), key="rolling", alt=rolling_in_words(sharpe, beta, WINDOW_SESSIONS))
    st.caption(f"Each point: the {WINDOW_SESSIONS} sessions up to it. Beta is against the benchmark.")


def execution(session: Session, outcome: Outcome, profile_ids: tuple[str, ...]) -> None:
    """Show how far fills were from the prices that were meant."""
    fills = priced_fills(session.client, profile_ids, outcome.period.since)
    measured = slippage(fills)
    if measured.empty:
        show_empty("Nothing that was filled lately was meant at a price: exits by a signal or by hand are not.")
        return
    figures(execution_figures(measured), columns=4)
    st.caption(f"Over {count(len(measured), 'fill')}, the newest of the period. Exits by a signal or by hand were "
               "meant at no price and are not in it.")  # fmt: skip


def execution_figures(measured: pd.DataFrame) -> list[Figure]:
    """Return slippage in all and by what was filled. `measured`: as `engine.domain.execution.slippage`."""
    return [
        _figure("Slippage", "the price that was meant", measured),
        *(_figure(name, meant, measured[measured["purpose"] == purpose]) for purpose, (name, meant) in _MEANT.items()),
    ]


def _figure(name: str, meant: str, measured: pd.DataFrame) -> Figure:
    points = in_basis_points(measured)
    if points != points:
        return Figure(name, NOTHING, f"Fill price against {meant}.")
    tone = "plain" if abs(points) < 0.05 else "bad" if points > 0 else "good"
    word = {"plain": "as meant", "bad": "worse", "good": "better"}[tone]
    return Figure(
        name,
        f"{abs(points):,.1f} bp {word}" if tone != "plain" else "0.0 bp",
        f"(fill price - {meant}) × quantity, the other way round for sales, added up, over what was traded. "
        "1 bp is 0.01 %.",
        f"{signed_money(-measured['slippage_usd'].sum())} in {count(len(measured), 'fill')}",
        tone,
    )


def slippage_figure(orders: pd.DataFrame) -> Figure:
    """Return what filling a trade's orders cost against the prices that were meant. `orders`: those of one trade."""
    filled = orders[orders["filled_qty"] > 0].assign(qty=orders["filled_qty"], price=orders["filled_avg_price"])
    measured = slippage(filled)
    help_text = (
        "(fill price - the quote, stop or target that was meant) × quantity, the other way round for sales. "
        "Exits by a signal or by hand were meant at no price."
    )
    if measured.empty:
        return Figure("Slippage", NOTHING, help_text)
    cost = float(measured["slippage_usd"].sum())
    return Figure("Slippage", signed_money(-cost), help_text, f"{in_basis_points(measured):+,.1f} bp of cost")
