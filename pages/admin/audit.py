"""Audit: who did what, when and why, what was refused, and the proof that nothing was altered, for admins."""

import streamlit as st

from db.queries.audit import audit_for_export, audit_page
from db.queries.members import members
from pages.components.address import opened
from pages.components.audit import OPENED, audit_filters, audit_table, chain_proof, entry_drawer, for_export
from pages.components.export import csv_button
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session("admin")

st.title("Audit")
zone = chosen_zone()
chain_proof()
people, known = members(session.client), known_profiles(session)
filters = audit_filters(people, zone.key)
pager = Pager("audit", filters)
page = audit_page(session.client, filters, after=pager.cursor)
if page.found.empty:
    show_empty("Nothing matches.")
else:
    names = dict(zip(people["user_id"], people["email"], strict=True)) | dict(
        zip(known["id"], known["name"], strict=True)
    )
    audit_table(page.found, names, zone)
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(page.next)
        csv_button("audit", lambda: for_export(audit_for_export(session.client, filters)))
if entry := opened(OPENED):
    entry_drawer(session, entry, zone)
