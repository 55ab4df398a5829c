"""Positions: what is held, what it is worth, what protects it, and the way to close it."""

import streamlit as st

from db.queries.positions import open_positions
from pages.components.filters import position_filters
from pages.components.positions import close_one, live_positions
from pages.session.guard import require_session
from pages.session.profiles import known_profiles
from pages.session.status import known_role, read_status

session = require_session()
read_status(session.client)

st.title("Positions")
filters = position_filters(known_profiles(session))
held = open_positions(session.client, filters)
live_positions(filters, frozenset(held["trade_id"]))
close_one(session, held, filters, may_close=known_role() in ("admin", "operator"))
