"""A long list of rows that have forms of their own, a few at a time: each form makes every other one slower."""

import pandas as pd
import streamlit as st

SIZE = 10


def a_few(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the rows of the chosen page; show the way to the others when there is more than one page."""
    pages = -(-len(rows) // SIZE)
    if pages < 2:
        return rows
    widget = f"{key}_page"
    if st.session_state.get(widget, 1) > pages:  # a filter has made the list shorter
        del st.session_state[widget]
    first = (st.pagination(pages, key=widget) - 1) * SIZE
    return rows.iloc[first : first + SIZE]
