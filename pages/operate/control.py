"""Control: stop new entries, let them flow again, and plan both ahead, for admins."""

import streamlit as st

from db.queries.schedules import planned_changes
from pages.components.control_history import show_history
from pages.components.control_panel import control_form, draining_progress, mode_banner, narrower_scopes
from pages.components.export import csv_button
from pages.components.halt import halt_panel
from pages.components.messages import show_empty
from pages.components.overrides import override_section
from pages.components.pause_preview import pause_preview
from pages.components.plan_form import plan_form
from pages.components.resume import preflight_panel
from pages.components.schedules import planned_list
from pages.components.targets import target_picker
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.profiles import known_profiles
from pages.session.status import database_time, read_status

session = require_session("admin")

st.title("Control")
reading, zone = read_status(session.client), chosen_zone()
known = known_profiles(session)
names = dict(zip(known["id"], known["name"], strict=True))
with st.container():  # a place of its own: what comes and goes in it does not disturb who types beneath
    mode_banner(reading, zone)
    if reading.status:
        draining_progress(reading.status, zone)
        narrower_scopes(reading.status, names, zone)
target = target_picker(known, key="scope")
with st.container():
    if reading.status:
        preflight_panel(session, target, target.control(reading.status))
        if target.mode(reading.status) == "RUNNING":
            pause_preview(session, target)
control_form(reading, target)
halt_panel(reading, target)

st.subheader("Overrides")
override_section(session, known, database_time(reading), zone)

st.subheader("Planned changes")
plans = planned_changes(session.client)
with st.container():
    if plans.empty:
        show_empty("Nothing is planned. Plan a window below: a close of the market, a day of earnings, a maintenance.")
    else:
        planned_list(plans, names, zone)
        csv_button("planned-changes", lambda: plans)
with st.expander("Plan a change", icon=":material/event:"):
    plan_form(known)

st.subheader("History")
show_history(session, names, database_time(reading), zone)
