"""Orders: every intent, what became of it, and why it was refused."""

import streamlit as st

from db.queries.orders import orders_for_export, orders_page
from pages.components.address import opened
from pages.components.export import csv_button
from pages.components.filters import order_filters
from pages.components.messages import show_empty
from pages.components.news import new_orders
from pages.components.order_detail import OPENED, order_drawer
from pages.components.pager import Pager
from pages.components.tables import orders_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

st.title("Orders")
filters = order_filters(known_profiles(session), chosen_zone().key)
if order_id := opened(OPENED):
    order_drawer(session, order_id, chosen_zone())
pager = Pager("orders", filters)
page = orders_page(session.client, filters, after=pager.cursor)
if page.found.empty:
    show_empty("No order matches. Take a filter away, or wait for the next signal.")
    st.stop()

if pager.is_at_newest:
    new_orders(filters, page.found)
orders_table(page.found, chosen_zone(), opens=OPENED)
with st.container(horizontal=True, horizontal_alignment="distribute"):
    pager.buttons(page.next)
    with st.container(horizontal=True, width="content"):
        st.button("Refresh", icon=":material/refresh:")
        csv_button("orders", lambda: orders_for_export(session.client, filters))
