"""Risk: the limits that every entry has to pass, for admins."""

from functools import partial

import streamlit as st

from db.commands import risk_config
from db.queries.paging import all_pages
from db.queries.risk_configs import risk_versions
from pages.components.address import opened
from pages.components.export import csv_button
from pages.components.messages import note
from pages.components.pager import Pager
from pages.components.risk_form import risk_form
from pages.components.risk_versions import OPENED, for_export, version_drawer, versions_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session

session = require_session("admin")

st.title("Risk")
active, zone = risk_config(session.client), chosen_zone()
note(
    f"Version {active.version} is active. What you save holds for the next entry, without a restart. "
    "A limit that is not set blocks entries; exits are never blocked by any of these."
)
risk_form(active, zone)

st.subheader("Versions")
pager = Pager("risk_versions", ())
page = risk_versions(session.client, pager.cursor)
versions_table(page.found, zone)
with st.container(horizontal=True, horizontal_alignment="distribute"):
    pager.buttons(page.next)
    csv_button("risk-versions", lambda: for_export(all_pages(partial(risk_versions, session.client))))
if version := opened(OPENED):
    version_drawer(session, version, active, zone)
