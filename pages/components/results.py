"""A period's results day by day: as a calendar that opens a day, and as a list to take away."""

from datetime import date

import pandas as pd
import streamlit as st

from pages.components.calendar import calendar
from pages.components.export import csv_button
from pages.components.formats import count, signed_money


def results_by_day(results_usd: pd.Series) -> None:
    """Show one month of results, the last one until another is chosen. `results_usd`: by session date, not empty."""
    months = sorted({at.strftime("%Y-%m") for at in results_usd.index}, reverse=True)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        chosen = st.selectbox("Month", months, key="performance_month", bind="query-params", width=180)
        csv_button("daily-results", lambda: results_usd.rename("result_usd").rename_axis("session_date").reset_index())
    inside = results_usd[results_usd.index.strftime("%Y-%m") == chosen]
    won = int((inside > 0).sum())
    st.markdown(
        f"**{signed_money(inside.sum())}** in {count(len(inside), 'session')}, {won} of them with a gain. "
        "Choose a day to see the trades that were closed on it."
    )
    calendar(inside, date.fromisoformat(f"{chosen}-01"))
    st.caption("A day's result is realised and unrealised; it can differ from what the trades closed that day brought.")
