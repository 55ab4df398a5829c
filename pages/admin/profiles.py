"""Profiles: which are switched on, and what becomes of orders in their account that are not ours, for staff."""

import streamlit as st

from db.queries.positions import owner_emails
from db.queries.profiles import external_policies, profile_settings
from pages.components.export import csv_button
from pages.components.external_policy import account_policies
from pages.components.formats import count
from pages.components.messages import note, show_empty
from pages.components.profiles import matching, profile_list, profile_search
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.status import known_role, read_status

session = require_session("operator", "admin")
read_status(session.client)
may_change, zone = known_role() == "admin", chosen_zone()

st.title("Profiles")
known, policies = profile_settings(session.client), external_policies(session.client)
if known.empty:
    show_empty("No profile exists yet. A profile is a row of the table profiles: docs/strategies.md says how.")
    st.stop()
found = matching(known, *profile_search())
with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.subheader(count(len(found), "profile"))
    csv_button("profiles", lambda: found)
profile_list(found, policies, owner_emails(session.client), zone, may_change=may_change)

st.subheader("Orders that are not ours")
note("What becomes of an order in the broker account that nobody here made. A profile's own policy comes first.")
account_policies(sorted(set(known["broker_account"])), policies, zone, may_change=may_change)
