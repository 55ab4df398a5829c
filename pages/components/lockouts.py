"""Lockouts: the form to lock a symbol out, and those in force with the way to remove them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import create_lockout, remove_lockout
from pages.components.actions import act
from pages.components.few import a_few
from pages.components.formats import age, moment, words
from pages.components.lockout_source import source_link, source_words
from pages.components.messages import note, plain, tell

MINUTES, MINUTES_MAX = 60, 525_600
_SIDES = {"Both directions": None, "Long entries": "long", "Short entries": "short"}
_BLANK: dict[str, Any] = {"lockout_ticker": "", "lockout_reason": "", "lockout_minutes": MINUTES,
                          "lockout_side": "Both directions"}  # fmt: skip


def lockout_form() -> None:
    """Ask which symbol to lock out, why and for how long; empty again once it has worked."""
    for key, value in _BLANK.items():
        st.session_state.setdefault(key, value)
    with st.form("lockout", enter_to_submit=False):
        ticker, minutes, side = st.columns([2, 2, 3])
        ticker.text_input("Ticker", key="lockout_ticker", max_chars=15, placeholder="AAPL, or * for all")
        minutes.number_input("Minutes", min_value=1, max_value=MINUTES_MAX, step=15, key="lockout_minutes")
        side.selectbox("Side", list(_SIDES), key="lockout_side")
        st.text_input("Reason", key="lockout_reason", max_chars=500,
                      placeholder="Why, in a few words. It is kept with your name.")  # fmt: skip
        st.form_submit_button("Lock out", icon=":material/lock:", type="primary", on_click=_create, key="lockout_send")
    note("No new positions are opened in a symbol that is locked out, and entries that wait or rest are cancelled. "
         "Open positions keep their stops and can still be closed.")  # fmt: skip


def lockout_list(lockouts: pd.DataFrame, at: datetime, zone: ZoneInfo, *, may_remove: bool) -> None:
    """Show the lockouts in force, what ends first at the top. `at`: now, by the database's clock."""
    for lockout in a_few(lockouts, "lockouts").to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"lockout_{lockout['id']}"):
            with st.container(width="stretch"):
                _facts(lockout, at, zone)
            if may_remove:
                _remove_popover(lockout)


def _facts(lockout: Mapping[Any, Any], at: datetime, zone: ZoneInfo) -> None:
    by_system = lockout["created_by_email"] == "engine"
    kind = f"System: {words(lockout['lockout_type']).lower()}" if by_system else words(lockout["lockout_type"])
    st.markdown(f"**{plain(ticker_words(lockout))}** :{'violet' if by_system else 'gray'}-badge[{kind}]")
    note(
        lockout["reason"],
        f"{age(lockout['expires_at'] - at)} left, until {moment(lockout['expires_at'], zone)}. "
        f"Set by {lockout['created_by_email']} {age(at - lockout['starts_at'])} ago.",
        *filter(None, [source_words(lockout["detail"] or {}, zone)]),
    )
    if link := source_link(lockout["detail"] or {}):
        st.link_button("What it goes back to", link, type="tertiary", icon=":material/open_in_new:",
                       key=f"source_{lockout['id']}")  # fmt: skip


def ticker_words(lockout: Mapping[Any, Any]) -> str:
    """Return what is locked out: the symbol, the direction and the profile where only one is meant."""
    name = "Every symbol" if lockout["ticker"] == "*" else lockout["ticker"]
    side = f", {lockout['side']} entries only" if isinstance(lockout["side"], str) else ""
    owner = lockout["profile_name"] if isinstance(lockout["profile_name"], str) else "one profile"
    profile = f", {owner} only" if isinstance(lockout["profile_id"], str) else ""
    return f"{name}{side}{profile}"


def _remove_popover(lockout: Mapping[Any, Any]) -> None:
    key = f"remove_why_{lockout['id']}"
    with st.popover("Remove", icon=":material/lock_open:", key=f"remove_open_{lockout['id']}"):
        st.text_input("Why it is removed", key=key, max_chars=500)
        st.button("Remove this lockout", key=f"remove_{lockout['id']}", on_click=_remove, args=(lockout["id"], key))


def _create() -> None:
    ticker, reason = (str(st.session_state[key]).strip() for key in ("lockout_ticker", "lockout_reason"))
    minutes, side = int(st.session_state["lockout_minutes"]), _SIDES[st.session_state["lockout_side"]]
    if not ticker or not reason:
        tell("**Nothing was locked out.** A ticker and a reason are required.", failed=True)
        return
    error = act(
        lambda client, id_: create_lockout(
            client, ticker=ticker.upper(), reason=reason, duration_minutes=minutes, side=side, request_id=id_
        ),
        lambda held: plain(f"Done: {ticker_words(held.model_dump() | {'profile_name': None})} locked out."),
        content=("lockout", ticker.upper(), reason, minutes, side),
    )
    if error is None:
        st.session_state.update(_BLANK)


def _remove(lockout_id: str, key: str) -> None:
    reason = str(st.session_state[key]).strip()
    if not reason:
        tell("**Nothing was removed.** Say why the lockout is removed.", failed=True)
        return
    act(
        lambda client, id_: remove_lockout(client, lockout_id=UUID(lockout_id), reason=reason, request_id=id_),
        lambda gone: plain(f"Done: the lockout of {gone.ticker} was removed."),
        content=("remove", lockout_id, reason),
    )
