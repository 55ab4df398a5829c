"""Overview: what all profiles together are worth, hold and risk, what was refused, and whether the engine runs."""

import streamlit as st

from db.queries.equity import equity_curve
from db.queries.orders import latest_denials
from db.queries.positions import open_positions
from pages.components.export import csv_button
from pages.components.messages import show_empty
from pages.components.overview import (
    equity_chart,
    exposure_by_sector,
    jobs_table,
    key_figures,
    open_risk,
    profiles_chart,
)
from pages.components.tables import denials_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session

session = require_session()

st.title("Overview")
curve = equity_curve(session.client)
if curve.empty:
    show_empty("No session has been recorded yet. The first figures appear after the engine's first tick.")
    st.stop()

positions = open_positions(session.client)
key_figures(curve, [positions])

with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
    st.subheader("Equity")
    csv_button("equity", lambda: curve)
equity_chart(session, curve)

left, right = st.columns(2, gap="medium")
with left:
    st.subheader("Exposure by sector")
    exposure_by_sector(session, positions)
    st.subheader("Last denials")
    denials = latest_denials(session.client)
    if denials.empty:
        show_empty("The gate has refused no entry yet.")
    else:
        denials_table(denials, chosen_zone())
with right:
    st.subheader("Open risk")
    open_risk(positions)
    st.subheader("Engine jobs")
    jobs_table(session)

st.subheader("By profile")
profiles_chart(session, curve)
