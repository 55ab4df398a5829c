"""Open positions, renewed while one looks at them."""

import pandas as pd
import streamlit as st

from db.queries.positions import open_positions
from pages.components.export import csv_button
from pages.components.formats import count, signed_money
from pages.components.messages import page_boundary, show_empty
from pages.components.tables import positions_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session

TICK_S = 5


@st.fragment(run_every=TICK_S)
def live_positions() -> None:
    """Show what is held, with a warning when any of it is not protected."""
    with page_boundary("list of positions"):
        positions = open_positions(require_session().client)
        if positions.empty:
            show_empty("No open positions. They appear here as soon as an entry order is filled.")
            return
        _warn_of(positions[~positions["is_protected"]])
        result = signed_money(positions["unrealized_pnl_usd"].sum())
        st.markdown(f"{count(len(positions), 'open position')}, unrealised **{result}**")
        positions_table(positions, chosen_zone())
        csv_button("positions", lambda: positions)


def _warn_of(unprotected: pd.DataFrame) -> None:
    if unprotected.empty:
        return
    symbols = ", ".join(sorted(set(unprotected["symbol"])))
    st.error(
        f"**{count(len(unprotected), 'position')} not fully protected:** {symbols}. "
        "The engine places the missing stops; if this stays for more than 10 seconds, look at the engine.",
        icon=":material/gpp_maybe:",
    )
