"""CSV of what a table shows, made when it is asked for."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from db.queries.paging import EXPORT_ROWS_MAX


def csv_button(name: str, load: Callable[[], pd.DataFrame]) -> None:
    """Offer what is filtered as CSV; `load` runs on the click, not on each run. Times are UTC."""
    st.download_button(
        "CSV",
        data=lambda: load().to_csv(index=False).encode(),
        file_name=f"interlock-{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=f"csv_{name}",
        help=f"Everything that matches the filters, {EXPORT_ROWS_MAX:,} rows at most; times in UTC.",
    )
