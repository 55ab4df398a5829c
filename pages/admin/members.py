"""Members: who may use this installation, and in which role, for admins."""

import streamlit as st

from db.queries.members import members
from pages.components.export import csv_button
from pages.components.formats import count
from pages.components.members import matching, member_list, member_search
from pages.components.messages import note
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session

session = require_session("admin")

st.title("Members")
note("A role is looked up at every call: a change holds at once. There is always an admin: the last one stays one.")
known = members(session.client)
found = matching(known, *member_search())
with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.subheader(count(len(found), "member"))
    csv_button("members", lambda: found)
member_list(found, session.email, chosen_zone())
