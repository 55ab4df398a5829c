"""Lockouts: symbols in which no entries are opened. Operators and admins set and remove them; analysts look."""

import streamlit as st

from db.queries.lockouts import lockouts_for_export, lockouts_in_force, past_lockouts
from pages.components.export import csv_button
from pages.components.filters import lockout_filters
from pages.components.formats import count
from pages.components.lockouts import lockout_form, lockout_list
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.tables import lockouts_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.profiles import known_profiles
from pages.session.status import database_time, known_role, read_status

session = require_session()
reading = read_status(session.client)
is_staff = known_role() in ("admin", "operator")

st.title("Lockouts")
if is_staff:
    lockout_form()
filters = lockout_filters(known_profiles(session))

held = lockouts_in_force(session.client, filters)
st.subheader(f"In force: {count(len(held), 'lockout')}")
if held.empty:
    show_empty("No symbol is locked out.")
else:
    lockout_list(held, database_time(reading), chosen_zone(), may_remove=is_staff)

st.subheader("History")
pager = Pager("lockouts", filters)
page = past_lockouts(session.client, filters, after=pager.cursor)
if page.found.empty:
    show_empty("No past lockout matches.")
else:
    lockouts_table(page.found, chosen_zone())
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(page.next)
        csv_button("lockouts", lambda: lockouts_for_export(session.client, filters))
