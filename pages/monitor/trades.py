"""Trades: every round trip, what it brought, and how it looked on the chart."""

import streamlit as st

from db.queries.profiles import profiles
from db.queries.trades import closed_trades
from pages.components.export import csv_button
from pages.components.filters import trade_filters
from pages.components.messages import show_empty
from pages.components.tables import trades_table
from pages.components.time_zone import chosen_zone
from pages.components.trades import trade_figures, trade_on_chart
from pages.session.guard import require_session

session = require_session()

st.title("Trades")
trades = closed_trades(session.client, trade_filters(profiles(session.client)))
if trades.empty:
    show_empty("No closed trade matches. A trade appears here when its position has been closed.")
    st.stop()

trade_figures(trades)
st.caption("The last closed first. Select a trade to see it on the chart.")
chosen = trades_table(trades, chosen_zone())
csv_button("trades", lambda: trades)
trade_on_chart(session, trades.iloc[chosen], chosen_zone())
