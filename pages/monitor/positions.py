"""Positions: what is held, what it is worth, and what protects it."""

import streamlit as st

from pages.components.positions import live_positions
from pages.session.guard import require_session

require_session()

st.title("Positions")
live_positions()
