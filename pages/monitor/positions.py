"""Positions: what is held, what it is worth, and what protects it."""

import streamlit as st

from db.queries.positions import open_positions
from pages.components.export import csv_button
from pages.components.formats import count, signed_money
from pages.components.messages import show_empty
from pages.components.tables import positions_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session

session = require_session()

st.title("Positions")
positions = open_positions(session.client)
if positions.empty:
    show_empty("No open positions. They appear here as soon as an entry order is filled.")
    st.stop()

unprotected = positions[~positions["is_protected"]]
if len(unprotected):
    symbols = ", ".join(sorted(set(unprotected["symbol"])))
    st.error(
        f"**{count(len(unprotected), 'position')} not fully protected:** {symbols}. "
        "The engine places the missing stops; if this stays for more than 10 seconds, look at the engine.",
        icon=":material/gpp_maybe:",
    )
result = signed_money(positions["unrealized_pnl_usd"].sum())
st.markdown(f"{count(len(positions), 'open position')}, unrealised **{result}**")
positions_table(positions, chosen_zone())
with st.container(horizontal=True):
    st.button("Refresh", icon=":material/refresh:")
    csv_button("positions", lambda: positions)
