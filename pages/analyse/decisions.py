"""Decisions: why, or why not, for one symbol; and how far the entries of a period got."""

import streamlit as st

from db.queries.decisions import entries_for_export, entries_page
from pages.components.address import opened
from pages.components.export import csv_button
from pages.components.funnel import decisions_table, show_funnel
from pages.components.funnel_filters import decision_filters, period_words
from pages.components.messages import show_empty
from pages.components.order_detail import OPENED, order_drawer
from pages.components.pager import Pager
from pages.components.time_zone import chosen_zone
from pages.components.why import answer_now, answer_then, question
from pages.session.clock import now
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

zone, known = chosen_zone(), known_profiles(session)
st.title("Decisions")
if order_id := opened(OPENED):
    order_drawer(session, order_id, zone)

st.subheader("Why, or why not")
asked = question(known, zone)
if asked and asked.at:
    answer_then(session, asked, dict(zip(known["id"], known["name"], strict=True)), zone)
elif asked:
    answer_now(session, asked, zone)

st.subheader("From signal to fill")
choice = decision_filters(known, zone, key="decisions", with_codes=True)
filters = choice.filters(now())
st.caption(period_words(filters, zone))
show_funnel(session, filters, known["id"].tolist())

pager = Pager("decisions", choice)
page = entries_page(session.client, filters, after=pager.cursor)
if page.found.empty:
    show_empty("No decision matches. Take a filter away, or choose a longer period.")
    st.stop()
st.caption("The newest first. Select an entry to see every check that the gate made of it.")
decisions_table(page.found, zone, opens=OPENED)
with st.container(horizontal=True, horizontal_alignment="distribute"):
    pager.buttons(page.next)
    csv_button("decisions", lambda: entries_for_export(session.client, filters))
