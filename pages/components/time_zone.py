"""The time zone in which a person reads all times."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

_KEY = "tz"
_LABELS = {"exchange": "Exchange (New York)", "utc": "UTC", "browser": "This browser's"}
EXCHANGE = ZoneInfo("America/New_York")


def time_zone_picker() -> ZoneInfo:
    """Show the choice of zone, kept in the address; return the chosen one."""
    st.selectbox("Time zone", list(_LABELS), format_func=_LABELS.__getitem__, key=_KEY, bind="query-params")
    return chosen_zone()


def chosen_zone() -> ZoneInfo:
    """Return the zone that was chosen; the exchange's until something was."""
    choice = st.session_state.get(_KEY, "exchange")
    if choice == "utc":
        return ZoneInfo("UTC")
    return _browser_zone() if choice == "browser" else EXCHANGE


def _browser_zone() -> ZoneInfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
