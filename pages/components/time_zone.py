"""The time zone in which a person reads all times."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

_KEY = "tz"
# The address holds these very words.
_ZONES = ("New York", "UTC", "Browser")
EXCHANGE = ZoneInfo("America/New_York")


def time_zone_picker() -> ZoneInfo:
    """Show the choice of zone, kept in the address; return the chosen one."""
    st.selectbox(
        "Time zone",
        _ZONES,
        key=_KEY,
        bind="query-params",
        help="New York is the exchange's; Browser is this computer's.",
    )
    return chosen_zone()


def chosen_zone() -> ZoneInfo:
    """Return the zone that was chosen; the exchange's until something was."""
    choice = st.session_state.get(_KEY)
    if choice == "UTC":
        return ZoneInfo("UTC")
    return _browser_zone() if choice == "Browser" else EXCHANGE


def _browser_zone() -> ZoneInfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
