"""Trades: every round trip, what it brought, and how it looked on the chart."""

import streamlit as st

from db.queries.trades import trade_by_id, trades_for_export, trades_page
from pages.components.address import opened
from pages.components.export import csv_button
from pages.components.filters import trade_filters
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.time_zone import chosen_zone
from pages.components.trades import OPENED, trade_figures, trade_on_chart, trades_table
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

st.title("Trades")
filters = trade_filters(known_profiles(session))
pager = Pager("trades", filters)
page = trades_page(session.client, filters, after=pager.cursor)
trade_id = opened(OPENED)
chosen = trade_by_id(session.client, trade_id) if trade_id else page.found.head(1)
if page.found.empty:
    show_empty("No closed trade matches. Take a filter away; a trade appears here when its position has been closed.")
else:
    trade_figures(session, filters, page.found, is_all=pager.is_at_newest and page.next is None)
    st.caption("The last closed first. Select a trade to see it on the chart.")
    trades_table(page.found, chosen_zone())
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(page.next)
        csv_button("trades", lambda: trades_for_export(session.client, filters))
if not chosen.empty:
    trade_on_chart(session, chosen.iloc[0], chosen_zone())
elif trade_id:
    show_empty("That trade is not closed yet, or is not among those that you may see.")
