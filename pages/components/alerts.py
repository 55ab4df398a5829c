"""Alerts: what is open and what one can do about it, the mutes, and what was told to whom."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import TextColumn

from db.commands import acknowledge_alert, evaluate_alerts, mute_alert, unmute_alert
from db.errors import AuthorityError
from db.queries.alerts import RULES, SEVERITIES, AlertFilters
from pages.components.actions import act
from pages.components.alerts_rules import RULE_WORDS
from pages.components.few import a_few
from pages.components.formats import NOTHING, age, moment, words
from pages.components.messages import describe, note, plain, tell
from pages.components.tables import time_column
from pages.session.guard import Session

MINUTES, MINUTES_MAX = 60, 10_080
_SIGNS = {"critical": ":red[:material/error:]", "warning": ":orange[:material/warning:]"}
_THIS, _RULE, _SUBJECT = "This alert", "Every alert of this rule", "Every alert about this"


def look_again(session: Session) -> None:
    """Have the rules looked at now: this is how a dead engine shows when no other runs."""
    try:
        evaluate_alerts(session.client)
    except AuthorityError as e:
        st.warning(f"The rules could not be looked at; what is shown may be old. {describe(e)}",
                   icon=":material/sync_problem:")  # fmt: skip


def alert_filters(symbols: list[str]) -> AlertFilters:
    """Show the filters of the alerts, kept in the address; return what was chosen."""
    with st.grid(3, min_column_width=200):
        chosen = [
            st.multiselect(label, options, format_func=say, key=key, bind="query-params", placeholder="All")
            for label, options, say, key in (
                ("Rule", RULES, rule_name, "alerts_rule"),
                ("Severity", SEVERITIES, words, "alerts_severity"),
                ("Symbol", symbols, str, "alerts_symbol"),
            )
        ]
    return AlertFilters(*map(tuple, chosen))


def rule_name(rule: str) -> str:
    """Return a rule's code as words: POSITION_UNPROTECTED is Position unprotected."""
    return words(rule.lower())


def alert_list(alerts: pd.DataFrame, at: datetime, zone: ZoneInfo) -> None:
    """Show the open alerts with the ways to acknowledge and to mute each. `at`: now, by the database's clock."""
    for alert in a_few(alerts, "alerts").to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"alert_{alert['id']}"):
            with st.container(width="stretch"):
                _facts(alert, at, zone)
            if pd.isna(alert["acknowledged_at"]):
                _acknowledge_popover(alert["id"])
            _mute_popover(alert)


def _facts(alert: Mapping[Any, Any], at: datetime, zone: ZoneInfo) -> None:
    st.markdown(f"{_SIGNS[alert['severity']]} **{rule_name(alert['rule'])}** :gray-badge[{words(alert['severity'])}]")
    lines = [alert["message"], f"Open for {age(at - alert['opened_at'])}, since {moment(alert['opened_at'], zone)}."]
    if pd.isna(alert["notified_at"]):
        lines.append("No notice went out: it is muted.")
    if not pd.isna(alert["acknowledged_at"]):
        said = f": {alert['acknowledged_note']}" if isinstance(alert["acknowledged_note"], str) else "."
        lines.append(f"{alert['acknowledged_by_email']} looks after it since "
                     f"{moment(alert['acknowledged_at'], zone)}{said}")  # fmt: skip
    note(*lines)


def _acknowledge_popover(alert_id: str) -> None:
    key = f"ack_{alert_id}"
    with st.popover("Acknowledge", icon=":material/visibility:", key=f"{key}_open"):
        st.text_input("Note (optional)", key=key, max_chars=500, placeholder="What you do about it")
        st.button("I look after it", type="primary", key=f"{key}_send", on_click=_acknowledge, args=(alert_id, key),
                  help="It stays open until its cause is gone.")  # fmt: skip


def _mute_popover(alert: Mapping[Any, Any]) -> None:
    key = f"mute_{alert['id']}"
    with st.popover("Mute", icon=":material/notifications_off:", key=f"{key}_open"):
        st.selectbox("What", [_THIS, _RULE, _SUBJECT], key=f"{key}_what")
        st.number_input("Minutes", min_value=1, max_value=MINUTES_MAX, value=MINUTES, step=15, key=f"{key}_minutes",
                        help="At most a week.")  # fmt: skip
        st.text_input("Why", key=f"{key}_why", max_chars=500, placeholder="It is kept with your name.")
        st.button("Hold its notices back", type="primary", key=f"{key}_send", on_click=_mute,
                  args=(alert["rule"], alert["subject"], key), help="The alert itself stays on the list.")  # fmt: skip


def mute_list(mutes: pd.DataFrame, at: datetime, zone: ZoneInfo) -> None:
    """Show the mutes in force, each with the way to end it."""
    for mute in a_few(mutes, "mutes").to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"muted_{mute['id']}"):
            with st.container(width="stretch"):
                st.markdown(f":material/notifications_off: **{plain(mute_words(mute))}**")
                note(mute["reason"], f"{age(mute['expires_at'] - at)} left, until {moment(mute['expires_at'], zone)}. "
                                     f"Set by {mute['created_by_email']}.")  # fmt: skip
            key = f"unmute_{mute['id']}"
            with st.popover("End", icon=":material/notifications_active:", key=f"{key}_open"):
                st.text_input("Why", key=key, max_chars=500)
                st.button("End this mute", key=f"{key}_send", on_click=_unmute, args=(mute["id"], key))


def mute_words(mute: Mapping[Any, Any]) -> str:
    """Return what is held back: a rule, a subject, or one rule about one subject."""
    rule = "Every rule" if mute["rule"] == "*" else rule_name(mute["rule"])
    return rule if mute["subject"] == "*" else f"{rule}, about {mute['subject']}"


def past_table(alerts: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show alerts whose cause is gone."""
    shown = pd.DataFrame(
        {
            "rule": alerts["rule"].map(rule_name),
            "severity": alerts["severity"].map(words),
            "message": alerts["message"],
            "opened": alerts["opened_at"],
            "lasted": [age(span) for span in alerts["resolved_at"] - alerts["opened_at"]],
            "by": alerts["acknowledged_by_email"].fillna(""),
            "note": alerts["acknowledged_note"].fillna(""),
        }
    )
    st.dataframe(
        shown, hide_index=True, placeholder=NOTHING, key="past_alerts",
        alt="Alerts whose cause is gone, the last opened first",
        column_config={
            "rule": TextColumn("Rule", pinned=True), "severity": TextColumn("Severity"),
            "message": TextColumn("What it said", width="large"), "opened": time_column("Opened", zone),
            "lasted": TextColumn("Lasted"), "by": TextColumn("Looked after by"), "note": TextColumn("Note"),
        },
    )  # fmt: skip


def rule_list() -> None:
    """Show every rule in words. The bounds are in the risk configuration."""
    st.markdown("\n".join(f"- **{rule_name(rule)}** (`{rule}`): {what}" for rule, what in RULE_WORDS.items()))


def _acknowledge(alert_id: str, key: str) -> None:
    said = str(st.session_state[key] or "").strip()
    act(
        lambda client, id_: acknowledge_alert(client, alert_id=UUID(alert_id), note=said, request_id=id_),
        lambda alert: plain(f"Done: you look after {rule_name(alert.rule).lower()}."),
        content=("acknowledge", alert_id, said),
    )


def _mute(rule: str, subject: str, key: str) -> None:
    what, minutes = st.session_state[f"{key}_what"], int(st.session_state[f"{key}_minutes"])
    reason = str(st.session_state[f"{key}_why"] or "").strip()
    if not reason:
        tell("**Nothing was muted.** A reason is required: say in a few words why.", failed=True)
        return
    wanted = {_THIS: (rule, subject), _RULE: (rule, None), _SUBJECT: (None, subject)}[what]
    act(
        lambda client, id_: mute_alert(
            client, rule=wanted[0], subject=wanted[1], minutes=minutes, reason=reason, request_id=id_
        ),
        lambda mute: plain(f"Done: {mute_words(mute.model_dump())} sends no notice for {minutes} minutes."),
        content=("mute", *wanted, minutes, reason),
    )


def _unmute(mute_id: str, key: str) -> None:
    reason = str(st.session_state[key] or "").strip()
    if not reason:
        tell("**Nothing was changed.** Say why the mute ends.", failed=True)
        return
    act(
        lambda client, id_: unmute_alert(client, mute_id=UUID(mute_id), reason=reason, request_id=id_),
        lambda mute: plain(f"Done: {mute_words(mute.model_dump())} sends notices again."),
        content=("unmute", mute_id, reason),
    )
