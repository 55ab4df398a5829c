"""Overview: what all profiles together are worth, hold, and were refused."""

import streamlit as st

from db.queries.controls import control_history, global_pauses
from db.queries.equity import equity_by_profile, equity_curve, in_market_time
from db.queries.orders import latest_denials
from pages.charts.equity import equity_figure, equity_in_words, profiles_figure
from pages.components.messages import show_empty
from pages.components.overview import key_figures
from pages.components.tables import denials_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session

session = require_session()

st.title("Overview")
curve = equity_curve(session.client)
if curve.empty:
    show_empty("No session has been recorded yet. The first figures appear after the engine's first tick.")
    st.stop()

key_figures(curve)

st.subheader("Equity")
pauses = in_market_time(session.client, global_pauses(control_history(session.client)).tail(8))
st.plotly_chart(equity_figure(curve, pauses), key="equity", alt=equity_in_words(curve))
if not pauses.empty:
    st.caption("Shaded: trading was paused.")

profiles_column, denials_column = st.columns([1, 1], gap="medium")
with profiles_column:
    st.subheader("By profile")
    by_profile = equity_by_profile(session.client)
    st.plotly_chart(
        profiles_figure(by_profile), key="by_profile", alt="Change of each profile's equity since its first session"
    )
with denials_column:
    st.subheader("Last denials")
    denials = latest_denials(session.client)
    if denials.empty:
        show_empty("The gate has refused no entry yet.")
    else:
        denials_table(denials, chosen_zone())
