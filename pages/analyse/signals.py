"""Signals: what a profile's strategy wanted, and what the layers did with it."""

import streamlit as st

from db.queries.signals import entries_of_signals, layer_switches, signals_for_export, signals_page
from pages.components.export import csv_button
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.signals import export_frame, layer_effects, signal_filters, signals_table
from pages.components.time_zone import chosen_zone
from pages.session.clock import now
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

st.title("Signals")
known = known_profiles(session)
if known.empty:
    show_empty("No profile that you can see trades anything.")
    st.stop()

choice = signal_filters(known)
filters, pager = choice.filters(now()), Pager("signals", choice)
page = signals_page(session.client, filters, after=pager.cursor)
if page.found.empty:
    show_empty("No signal matches. Choose a longer period, or wait for the strategy's next one.")
    st.stop()

layer_effects(page.found, layer_switches(session.client))
signals_table(page.found, entries_of_signals(session.client, filters.profile_id, page.found), chosen_zone())
with st.container(horizontal=True, horizontal_alignment="distribute"):
    pager.buttons(page.next)
    csv_button("signals", lambda: export_frame(signals_for_export(session.client, filters)))
