"""Closed trades by what they have in common: a figure, a table, and the figures behind each line."""

from dataclasses import asdict
from datetime import timedelta

import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, TextColumn

from db.queries.performance import Statistics
from pages.charts.performance import parts_figure, parts_in_words
from pages.components.export import csv_button
from pages.components.formats import NOTHING, age, ratio, words
from pages.components.messages import show_empty
from pages.components.performance import stats_of_each
from pages.components.tables import SIGNED_USD, USD

_BY = {
    "Profile": "profile",
    "Strategy": "strategy",
    "Symbol": "symbol",
    "Side": "side",
    "Closed by": "exit_reason",
    "Month": "month",
}


def breakdown(statistics: Statistics, profile_names: dict[str, str]) -> None:
    """Show what the closed trades brought by a dimension that the person chooses."""
    by = st.segmented_control(
        "By", list(_BY), default="Profile", required=True, key="performance_by", bind="query-params"
    )
    parts = parts_of(statistics, _BY[by], profile_names)
    if parts.empty:
        show_empty("No trade was closed in this period.")
        return
    figure, table = st.columns([2, 3], gap="medium")
    with figure:
        st.plotly_chart(parts_figure(parts), key="parts", alt=parts_in_words(parts))
    with table:
        _table(parts, by)
        csv_button("performance", lambda: parts)


def parts_of(statistics: Statistics, dimension: str, profile_names: dict[str, str]) -> pd.DataFrame:
    """Return the figures of each part, what brought the most first; months in order.

    Returns
    -------
    DataFrame; `name`, and the fields of `engine.domain.metrics.TradeStats`
    """
    sums = statistics.by[dimension]
    rows = [{"name": _name(str(key), dimension, profile_names), **asdict(stats)}
            for key, stats in zip(sums["key"], stats_of_each(sums), strict=True)]  # fmt: skip
    parts = pd.DataFrame(rows)
    return (
        parts
        if parts.empty or dimension == "month"
        else parts.sort_values("result_usd", ascending=False, ignore_index=True)
    )


def _name(key: str, dimension: str, profile_names: dict[str, str]) -> str:
    if dimension == "profile":
        return profile_names.get(key, key)
    return key[:7] if dimension == "month" else key if dimension == "symbol" else words(key)


def _table(parts: pd.DataFrame, by: str) -> None:
    st.dataframe(
        parts.assign(
            won=parts["win_rate"] * 100,
            held=parts["holding_s"].map(lambda span: NOTHING if pd.isna(span) else age(timedelta(seconds=span))),
            profit_factor=parts["profit_factor"].map(ratio),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="performance_parts",
        alt=f"Closed trades by {by.lower()}, with result, number and shares of gains",
        column_order=["name", "result_usd", "trades", "won", "profit_factor", "expectancy_usd", "average_gain_usd",
                      "average_loss_usd", "held", "volume_usd"],
        column_config={
            "name": TextColumn(by, pinned=True),
            "result_usd": NumberColumn("Result (USD)", format=SIGNED_USD, help="Gains minus losses"),
            "trades": NumberColumn("Trades", format="localized"),
            "won": NumberColumn("Won", format="%.1f %%", help="Trades with a gain over all trades"),
            "profit_factor": TextColumn("Profit factor",
                                        help="Sum of gains over sum of losses; ∞ while nothing was lost"),
            "expectancy_usd": NumberColumn("Per trade (USD)", format=SIGNED_USD),
            "average_gain_usd": NumberColumn("Average gain", format=SIGNED_USD),
            "average_loss_usd": NumberColumn("Average loss", format=SIGNED_USD),
            "held": TextColumn("Time held", help="Mean time from first to last fill"),
            "volume_usd": NumberColumn("Volume", format=USD, help="Bought plus sold, in USD"),
        },
    )  # fmt: skip
