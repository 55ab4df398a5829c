"""Overrides: one limit that a profile's entries may pass for a while, exceptionally and on record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import grant_override, revoke_override
from db.queries.overrides import CODES, overrides_in_force
from pages.components.actions import act
from pages.components.few import a_few
from pages.components.formats import age, moment, words
from pages.components.messages import note, plain, show_empty, tell
from pages.session.guard import Session

MINUTES, MINUTES_MAX = 15, 1440
ALL_SYMBOLS = "All of the profile's"


def override_section(session: Session, profiles: pd.DataFrame, at: datetime, zone: ZoneInfo) -> None:
    """Show the overrides in force with the way to withdraw each, and the form for another. `at`: database time."""
    held = overrides_in_force(session.client, profiles["id"].tolist())
    if held.empty:
        show_empty("No limit is overridden.")
    for override in a_few(held, "overrides").to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"override_{override['id']}"):
            with st.container(width="stretch"):
                st.markdown(f"**{plain(override_words(override))}**")
                left = f"{age(override['expires_at'] - at)} left, until {moment(override['expires_at'], zone)}."
                note(override["reason"], f"{left} Granted by {override['granted_by_email']}.")
            _withdraw_popover(override["id"])
    if len(profiles):
        with st.expander("Grant an override", icon=":material/key:", key="override_grant"):
            _form(profiles)


def override_words(override: Mapping[Any, Any]) -> str:
    """Return what may be passed by whom: Position limit, IBM, Alice trend daily."""
    symbol = override["symbol"] if isinstance(override["symbol"], str) else "every symbol"
    return f"{code_words(override['code'])}, {symbol}, {override['profile_name']}"


def code_words(code: str) -> str:
    """Return a limit's code as words: POSITION_LIMIT is Position limit."""
    return words(code.lower())


def _form(profiles: pd.DataFrame) -> None:
    note("Entries pass this one limit until the time is over; every other check still holds. For up to a day.")
    labels = dict(zip(profiles["id"], profiles["name"], strict=True))
    symbols = sorted({symbol for held in profiles["symbols"] for symbol in held})
    with st.form("override_form", enter_to_submit=False, border=False):
        with st.grid(4, min_column_width=180):
            st.selectbox("Profile", list(labels), format_func=lambda id_: labels[id_], key="override_profile")
            st.selectbox("Limit", CODES, format_func=code_words, key="override_code")
            st.selectbox("Symbol", [ALL_SYMBOLS, *symbols], key="override_symbol")
            st.number_input("Minutes", min_value=1, max_value=MINUTES_MAX, value=MINUTES, key="override_minutes")
        st.text_input("Why it is an exception", key="override_reason", max_chars=500,
                      placeholder="It is kept with your name.")  # fmt: skip
        st.form_submit_button("Grant", icon=":material/key:", key="override_send", on_click=_grant)


def _withdraw_popover(override_id: str) -> None:
    key = f"revoke_{override_id}"
    with st.popover("Withdraw", icon=":material/key_off:", key=f"{key}_open"):
        st.text_input("Why it is withdrawn", key=key, max_chars=500)
        st.button("Withdraw this override", key=f"{key}_send", on_click=_revoke, args=(override_id, key))


def _grant() -> None:
    state = st.session_state
    profile, code, minutes = state["override_profile"], state["override_code"], int(state["override_minutes"])
    symbol = None if state["override_symbol"] == ALL_SYMBOLS else state["override_symbol"]
    reason = str(state["override_reason"]).strip()
    if not reason:
        tell("**Nothing was granted.** Say why it is an exception.", failed=True)
        return
    error = act(
        lambda client, id_: grant_override(
            client, profile_id=UUID(profile), code=code, reason=reason, minutes=minutes, symbol=symbol, request_id=id_
        ),
        lambda granted: f"Done: {code_words(granted.code)} may be passed for {minutes} minutes.",
        content=("override", profile, code, symbol, minutes, reason),
    )
    if error is None:
        state["override_reason"] = ""


def _revoke(override_id: str, key: str) -> None:
    reason = str(st.session_state[key]).strip()
    if not reason:
        tell("**Nothing was changed.** Say why the override is withdrawn.", failed=True)
        return
    act(
        lambda client, id_: revoke_override(client, override_id=UUID(override_id), reason=reason, request_id=id_),
        lambda gone: f"Done: {code_words(gone.code)} holds again.",
        content=("revoke", override_id, reason),
    )
