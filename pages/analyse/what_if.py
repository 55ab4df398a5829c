"""What if: the recorded decisions of a period under other limits, pauses, lockouts or approvals."""

import streamlit as st

from db.queries.replays import paths_of, recorded_entries
from engine.domain.what_if import what_if
from pages.components.funnel_filters import decision_filters, period_words
from pages.components.messages import show_empty
from pages.components.time_zone import chosen_zone
from pages.components.what_if import assumptions, show_what_if, what_of_it
from pages.components.what_if_form import change_form
from pages.session.clock import now
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

zone, known = chosen_zone(), known_profiles(session)
st.title("What if")
st.caption("Recorded decisions, judged again under what you assume here. Nothing is changed by it.")
filters = decision_filters(known, zone, key="what").filters(now())
st.caption(period_words(filters, zone))
recorded = recorded_entries(session.client, filters)
if not recorded.entries:
    show_empty("No decision was recorded in this period. Choose a longer one, or take a filter away.")
    st.stop()

change = change_form(known)
what_of_it(recorded)
found = what_if(recorded.entries, change, paths_of(session.client, recorded.entries))
show_what_if(found, dict(zip(known["id"], known["name"], strict=True)), zone)
assumptions()
