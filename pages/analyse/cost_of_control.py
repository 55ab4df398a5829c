"""Cost of control: what pauses, lockouts, limits and approvals saved or cost, by following what they kept back."""

import streamlit as st

from db.queries.replays import lockout_spans, paths_of, pause_spans, recorded_entries
from engine.domain.cost_of_control import cost_of_control
from pages.components.cost import entries_behind, show_costs, show_no_costs
from pages.components.funnel_filters import decision_filters, period_words
from pages.components.time_zone import chosen_zone
from pages.components.what_if import assumptions, what_of_it
from pages.session.clock import now
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

zone, known = chosen_zone(), known_profiles(session)
st.title("Cost of control")
st.caption("Each entry that was kept back, followed over the bars as if it had been made.")
filters = decision_filters(known, zone, key="cost").filters(now())
st.caption(period_words(filters, zone))
recorded = recorded_entries(session.client, filters)
what_of_it(recorded)
paths = paths_of(session.client, recorded.entries)
pauses, lockouts = pause_spans(session.client), lockout_spans(session.client, filters)
costs = cost_of_control(recorded.entries, paths, pauses, lockouts)
if not costs:
    show_no_costs()
    st.stop()

show_costs(costs)
st.subheader("The entries behind it")
entries_behind(costs, paths, dict(zip(known["id"], known["name"], strict=True)), zone)
assumptions()
