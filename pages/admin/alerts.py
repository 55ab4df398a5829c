"""Alerts: what somebody should know of now, for operators and admins."""

import streamlit as st

from db.queries.alerts import alerts_for_export, mutes_in_force, open_alerts, past_alerts
from pages.components.alerts import (
    alert_filters,
    alert_list,
    look_again,
    mute_list,
    past_table,
    rule_list,
)
from pages.components.alerts_outbox import outbox
from pages.components.export import csv_button
from pages.components.formats import count
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.profiles import known_profiles
from pages.session.status import database_time, known_role, read_status

session = require_session("operator", "admin")
at, zone = database_time(read_status(session.client)), chosen_zone()

st.title("Alerts")
look_again(session)
filters = alert_filters(sorted({symbol for held in known_profiles(session)["symbols"] for symbol in held}))
held = open_alerts(session.client, filters)
st.subheader(f"Open: {count(len(held), 'alert')}")
if held.empty:
    show_empty("Nothing is wrong by any rule that matches.")
alert_list(held, at, zone)
mute_list(mutes_in_force(session.client), at, zone)

st.subheader("Past")
pager = Pager("alerts", filters)
past = past_alerts(session.client, filters, after=pager.cursor)
if past.found.empty:
    show_empty("No past alert matches.")
else:
    past_table(past.found, zone)
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(past.next)
        csv_button("alerts", lambda: alerts_for_export(session.client, filters))

st.subheader("Outbox")
outbox(session, zone, may_test=known_role() == "admin")
with st.expander("The rules", icon=":material/rule:"):
    rule_list()
