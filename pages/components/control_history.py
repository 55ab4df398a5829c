"""What was paused, halted and resumed: as a timeline, as a list, and to take away."""

from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from db.queries.controls import control_history
from pages.charts.timeline import stopped_spans, timeline_figure, timeline_in_words
from pages.components.export import csv_button
from pages.components.messages import show_empty
from pages.components.tables import history_table
from pages.components.targets import target_name
from pages.session.guard import Session


def show_history(session: Session, profile_names: dict[str, str], at: datetime, zone: ZoneInfo) -> None:
    """Show the last changes of the controls. `at`: now, by the database's clock."""
    history = control_history(session.client)
    if history.empty:
        show_empty("Trading has never been paused or resumed here.")
        return
    pairs = zip(history["scope"], history["scope_key"], strict=True)
    spans = stopped_spans(history.assign(scope=[target_name(*pair, profile_names) for pair in pairs]), at)
    if not spans.empty:
        st.plotly_chart(timeline_figure(spans, zone.key), key="timeline", alt=timeline_in_words(spans))
    history_table(history, profile_names, zone)
    csv_button("controls", lambda: history)
