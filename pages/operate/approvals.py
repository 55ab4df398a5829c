"""Approvals: entries that a person has to decide, for operators and admins."""

import streamlit as st

from db.queries.approvals import approvals_for_export, decided_approvals
from pages.components.approval_switch import approval_switch
from pages.components.approvals import waiting_list
from pages.components.export import csv_button
from pages.components.filters import approval_filters, outcome_filter
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.tables import approvals_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.profiles import known_profiles
from pages.session.status import database_time, read_status

session = require_session("operator", "admin")

st.title("Approvals")
approval_switch(session)
filters = approval_filters(known_profiles(session))

st.subheader("Waiting")
waiting_list(session, filters, database_time(read_status(session.client)), chosen_zone())

st.subheader("History")
past = outcome_filter(filters)
pager = Pager("approvals", past)
page = decided_approvals(session.client, past, after=pager.cursor)
if page.found.empty:
    show_empty("No decision matches.")
else:
    approvals_table(page.found, chosen_zone())
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(page.next)
        csv_button("approvals", lambda: approvals_for_export(session.client, past))
