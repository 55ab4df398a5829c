"""The form to plan a change of mode: every week, once, around dates, or on a condition."""

from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import schedule_trading_mode
from db.models import Schedule
from pages.components.actions import act
from pages.components.messages import plain, tell
from pages.components.schedules import DAYS
from pages.components.targets import Target, target_picker
from pages.components.time_zone import chosen_zone

_KINDS = {"Every week": "weekly", "Once": "once", "Around dates": "dates", "On a condition": "condition"}
_MODES = {"Pause entries": "PAUSED", "Halt everything but cancels": "HALTED", "Resume entries": "RUNNING"}
_PERCENT = ("drawdown", "volatility", "broker_error_rate")
_METRIC_NAMES = {
    "drawdown": "Drawdown (%)", "volatility": "Daily volatility (%)", "loss_streak": "Losses in a row",
    "data_age_s": "Age of the market data (s)", "broker_error_rate": "Broker error rate (%)",
}  # fmt: skip


def plan_form(profiles: pd.DataFrame) -> None:
    """Ask what to plan, for which scope, and send it as one request."""
    target = target_picker(profiles, key="plan_scope")
    label = st.segmented_control("When", list(_KINDS), default="Every week", required=True, key="plan_kind")
    kind = _KINDS[label]
    with st.form("plan", enter_to_submit=False):
        modes = list(_MODES) if kind in ("once", "condition") else list(_MODES)[:2]
        st.selectbox("What happens", modes, key=f"plan_mode_{kind}")
        _FIELDS[kind](chosen_zone())
        st.text_input("Why it is planned", key="plan_reason", max_chars=500)
        st.form_submit_button("Plan it", icon=":material/event:", on_click=_plan, args=(target, kind), key="plan_send")


def _weekly_fields(zone: ZoneInfo) -> None:
    st.pills("Weekdays", list(DAYS), selection_mode="multi", default=list(DAYS[:5]), key="plan_weekdays")
    _times(zone)
    st.checkbox("The other way round: outside these hours, not inside", key="plan_inverted")


def _once_fields(zone: ZoneInfo) -> None:
    start, end = st.columns(2)
    start.datetime_input(f"From ({zone.key})", value=None, step=60, key="plan_starts")
    end.datetime_input(f"Until ({zone.key}; empty: until somebody resumes)", value=None, step=60, key="plan_ends")


def _dates_fields(zone: ZoneInfo) -> None:
    st.text_input("Dates, such as days of earnings", placeholder="2026-01-28, 2026-04-29", key="plan_dates")
    before, after = st.columns(2)
    before.number_input("Days before", 0, 30, 0, key="plan_before")
    after.number_input("Days after", 0, 30, 0, key="plan_after")
    _times(zone)


def _condition_fields(_zone: ZoneInfo) -> None:
    metric, side, bound, lasting = st.columns([3, 2, 2, 2])
    metric.selectbox("Measured", list(_METRIC_NAMES), format_func=_METRIC_NAMES.get, key="plan_metric")
    side.selectbox("Is", ["above", "below"], key="plan_side")
    bound.number_input("Bound", min_value=0.0, value=10.0, key="plan_bound")
    lasting.number_input("For at least (s)", 0, 86_400, 0, key="plan_for")
    st.checkbox("When it no longer holds, resume by itself (if the pre-flight list is met)", key="plan_resumes")


def _times(zone: ZoneInfo) -> None:
    start, end = st.columns(2)
    start.time_input(f"From ({zone.key})", value=time(15, 30), step=300, key="plan_start_time")
    end.time_input("Until (not later than From: on the next day)", value=time(16, 0), step=300, key="plan_end_time")


_FIELDS: dict[str, Callable[[ZoneInfo], None]] = {
    "weekly": _weekly_fields,
    "once": _once_fields,
    "dates": _dates_fields,
    "condition": _condition_fields,
}


def _plan(target: Target, kind: str) -> None:
    reason = str(st.session_state["plan_reason"]).strip()
    if not reason:
        tell("**Nothing was planned.** A reason is required: say in a few words why.", failed=True)
        return
    try:
        plan = _PLANS[kind](chosen_zone())
    except ValueError as e:
        tell(f"**Nothing was planned.** {plain(str(e))}", failed=True)
        return
    mode = _MODES[st.session_state[f"plan_mode_{kind}"]]
    error = act(
        lambda client, id_: schedule_trading_mode(
            client,
            mode=mode,
            kind=kind,
            reason=reason,
            scope=target.scope,
            scope_key=target.key,
            request_id=id_,
            **plan,
        ),
        lambda planned: _planned_words(planned, target),
        content=("plan", target, mode, kind, reason, repr(plan)),
    )
    if error is None:
        st.session_state["plan_reason"] = ""


def _planned_words(planned: Schedule, target: Target) -> str:
    state = "It is in force already." if planned.in_force else "It is on the list of planned changes."
    return plain(f"Planned for {target.name}. {state}")


def _weekly_plan(zone: ZoneInfo) -> dict[str, Any]:
    days = [DAYS.index(day) + 1 for day in st.session_state["plan_weekdays"]]
    return {"weekdays": sorted(days), "inverted": bool(st.session_state["plan_inverted"]), **_chosen_times(zone)}


def _once_plan(zone: ZoneInfo) -> dict[str, Any]:
    starts: datetime | None = st.session_state["plan_starts"]
    ends: datetime | None = st.session_state["plan_ends"]
    if starts is None:
        raise ValueError("Say when it begins.")
    return {"time_zone": zone.key, "starts_at": starts.replace(tzinfo=zone),
            "ends_at": ends.replace(tzinfo=zone) if ends else None}  # fmt: skip


def _dates_plan(zone: ZoneInfo) -> dict[str, Any]:
    return {
        "dates": dates_of(str(st.session_state["plan_dates"])),
        "days_before": int(st.session_state["plan_before"]),
        "days_after": int(st.session_state["plan_after"]),
        **_chosen_times(zone),
    }


def _condition_plan(_zone: ZoneInfo) -> dict[str, Any]:
    metric, side = st.session_state["plan_metric"], st.session_state["plan_side"]
    bound = round(float(st.session_state["plan_bound"]) / (100 if metric in _PERCENT else 1), 9)
    condition: dict[str, Any] = {"metric": metric, side: bound}
    if seconds := int(st.session_state["plan_for"]):
        condition["for_s"] = seconds
    opposite = {"metric": metric, "below" if side == "above" else "above": bound}
    return {"condition": condition, "resume_condition": opposite if st.session_state["plan_resumes"] else None}


_PLANS: dict[str, Callable[[ZoneInfo], dict[str, Any]]] = {
    "weekly": _weekly_plan,
    "once": _once_plan,
    "dates": _dates_plan,
    "condition": _condition_plan,
}


def dates_of(text: str) -> list[date]:
    """Return the dates in a text, each once and in order; they are separated by commas or spaces.

    Raises
    ------
    ValueError that says which word is no date, or that there is none
    """
    words = text.replace(",", " ").split()
    if not words:
        raise ValueError("Give at least one date, such as 2026-01-28.")
    found = set()
    for word in words:
        try:
            found.add(date.fromisoformat(word))
        except ValueError as e:
            raise ValueError(f"{word} is no date: write it as 2026-01-28.") from e
    return sorted(found)


def _chosen_times(zone: ZoneInfo) -> dict[str, Any]:
    return {
        "time_zone": zone.key,
        "start_time": st.session_state["plan_start_time"],
        "end_time": st.session_state["plan_end_time"],
    }
