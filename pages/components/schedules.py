"""Planned changes of mode: each in words, with the way to withdraw it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import cancel_schedule
from pages.components.actions import act
from pages.components.formats import count, moment, share
from pages.components.messages import note, plain, tell
from pages.components.targets import target_name

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# What people call a metric, and how its value is written.
METRICS = {
    "drawdown": ("the drawdown", share),
    "volatility": ("the daily volatility", share),
    "loss_streak": ("the streak of losses", lambda value: count(int(value), "trade")),
    "data_age_s": ("the age of the market data", lambda value: f"{value:g} s"),
    "broker_error_rate": ("the broker's error rate", share),
}
_VERBS = {"PAUSED": "Pause", "HALTED": "Halt", "RUNNING": "Resume"}


def planned_list(plans: pd.DataFrame, profile_names: dict[str, str], zone: ZoneInfo) -> None:
    """Show what is planned, the next one first, each with its way to be withdrawn."""
    for plan in plans.to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            with st.container(width="stretch"):
                _facts(plan, profile_names, zone)
            _withdraw(plan)


def plan_words(plan: Mapping[Any, Any], profile_names: dict[str, str], zone: ZoneInfo) -> str:
    """Return a plan as a sentence: what it does to which scope, and when."""
    name = target_name(plan["scope"], plan["scope_key"], profile_names)
    return f"{_VERBS[plan['mode']]} {name} {_when(plan, zone)}"


def condition_words(condition: Mapping[str, Any]) -> str:
    """Return a condition in words: the drawdown is above 10 % for 60 s."""
    what, written = METRICS[condition["metric"]]
    side = "above" if condition.get("above") is not None else "below"
    lasting = f" for {float(condition['for_s']):g} s" if condition.get("for_s") else ""
    return f"{what} is {side} {written(float(condition[side]))}{lasting}"


def _facts(plan: Mapping[Any, Any], profile_names: dict[str, str], zone: ZoneInfo) -> None:
    state = " :orange-badge[in force]" if plan["in_force"] else ""
    st.markdown(f"**{plain(plan_words(plan, profile_names, zone))}**{state}")
    if plan["kind"] == "condition":
        following = "Looked at every few seconds."
    else:
        following = f"Next change {moment(plan['next_at'], zone)}."
    note(f"{following} Planned by {plan['created_by_email']}: {plan['reason']}")


def _when(plan: Mapping[Any, Any], zone: ZoneInfo) -> str:
    if plan["kind"] == "once":
        start = f"at {moment(plan['starts_at'], zone)}"
        return start if pd.isna(plan["ends_at"]) else f"{start} until {moment(plan['ends_at'], zone)}"
    if plan["kind"] == "condition":
        ends = f", until {condition_words(plan['resume_condition'])}" if plan["resume_condition"] else ""
        return (
            f"while {condition_words(plan['condition'])}{ends}"
            if ends
            else f"when {condition_words(plan['condition'])}"
        )
    times = f"{plan['start_time'][:5]} to {plan['end_time'][:5]} ({plan['time_zone']})"
    outside = "except " if plan["inverted"] else ""
    if plan["kind"] == "weekly":
        return f"{outside}every {', '.join(DAYS[day - 1] for day in sorted(plan['weekdays']))}, {times}"
    return f"{outside}around {_dates(plan['dates'])}{_margin(plan)}, {times}"


def _dates(dates: list[str]) -> str:
    shown = ", ".join(f"{pd.Timestamp(day):%d %b %Y}" for day in sorted(dates)[:3])
    return f"{shown} and {count(len(dates) - 3, 'more date')}" if len(dates) > 3 else shown


def _margin(plan: Mapping[Any, Any]) -> str:
    before, after = int(plan["days_before"]), int(plan["days_after"])
    parts = [f"{count(before, 'day')} before" if before else "", f"{count(after, 'day')} after" if after else ""]
    said = " and ".join(part for part in parts if part)
    return f" (from {said})" if said else ""


def _withdraw(plan: Mapping[Any, Any]) -> None:
    key = f"withdraw_{plan['id']}"
    with st.popover("Withdraw", icon=":material/event_busy:", key=f"{key}_open"):
        st.text_input("Why it is withdrawn", key=key, max_chars=500)
        st.button("Withdraw this plan", key=f"{key}_send", on_click=_send_withdrawal, args=(plan["id"], key),
                  help="A pause that it has set stays until somebody resumes.")  # fmt: skip


def _send_withdrawal(plan_id: str, key: str) -> None:
    reason = str(st.session_state[key]).strip()
    if not reason:
        tell("**Nothing was changed.** Say why the plan is withdrawn.", failed=True)
        return
    act(
        lambda client, id_: cancel_schedule(client, schedule_id=UUID(plan_id), reason=reason, request_id=id_),
        plain,
        content=("withdraw", plan_id, reason),
    )
