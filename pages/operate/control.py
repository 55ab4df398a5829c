"""Control: stop new entries and let them flow again, for admins."""

import streamlit as st

from db.queries.controls import control_history
from pages.components.control_panel import control_form, draining_progress, mode_banner
from pages.components.export import csv_button
from pages.components.messages import show_empty
from pages.components.tables import history_table
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.status import read_status

session = require_session("admin")

st.title("Control")
reading = read_status(session.client)
mode_banner(reading, chosen_zone())
if reading.status:
    draining_progress(reading.status, chosen_zone())
control_form(reading)

st.subheader("History")
history = control_history(session.client)
if history.empty:
    show_empty("Trading has never been paused or resumed here.")
else:
    history_table(history, chosen_zone())
    csv_button("controls", lambda: history)
