"""One order in full: its numbers, what happened to it, and what the gate judged."""

from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import DatetimeColumn, TextColumn

from db.queries.orders import Decision, decision, order_events
from pages.components.formats import NOTHING, moment, money, quantity, words
from pages.components.messages import facts_html, show_empty
from pages.session.guard import Session


def order_detail(session: Session, order: pd.Series, zone: ZoneInfo) -> None:
    """Show one order with its events and the gate's checks."""
    with st.container(border=True):
        st.subheader(f"{words(order['purpose'])}: {order['side']} {quantity(order['qty'])} {order['symbol']}")
        facts, events = st.columns([2, 3], gap="medium")
        with facts:
            st.html(_facts(order, zone))
        with events:
            st.markdown("**What happened**")
            _events(order_events(session.client, order["id"]), zone)
        judged = decision(session.client, order["id"])
        if judged:
            _checks(judged, zone)


def _facts(order: pd.Series, zone: ZoneInfo) -> str:
    """Return the order's facts as a plain table."""
    facts = {
        "State": words(order["state"]),
        "Code": _text(order["code"]),
        "Reason": _text(order["reason"]),
        "Profile": order["profile_name"],
        "Type": f"{order['order_type']}, {order['time_in_force']}",
        "Limit": money(order["limit_price"]),
        "Stop": money(order["stop_price"]),
        "Filled": f"{quantity(order['filled_qty'])} at {money(order['filled_avg_price'])}",
        "Broker says": _text(order["broker_status"]),
        "Decided (market time)": moment(order["market_at"], zone),
        "Recorded": moment(order["created_at"], zone),
        "Sent": moment(order["submitted_at"], zone),
        "Accepted": moment(order["accepted_at"], zone),
        "Ended": moment(order["ended_at"], zone),
        "Order id": order["id"],
    }
    return facts_html(facts)


def _text(value: object) -> str:
    return value if isinstance(value, str) and value else NOTHING


def _events(events: pd.DataFrame, zone: ZoneInfo) -> None:
    st.dataframe(
        events.assign(
            change=events["from_state"].fillna("").map(lambda state: f"{words(state)} → " if state else "")
            + events["to_state"].map(words),
            broker_status=events["broker_status"].fillna(""),
            reason=events["reason"].fillna(""),
        ),
        hide_index=True,
        key="order_events",
        alt="Events of the selected order",
        column_order=["at", "change", "broker_status", "reason"],
        column_config={
            "at": DatetimeColumn("Recorded", format="DD MMM YYYY, HH:mm:ss.SSS", timezone=zone.key),
            "change": TextColumn("Change"),
            "broker_status": TextColumn("Broker says"),
            "reason": TextColumn("Reason"),
        },
    )


def _checks(judged: Decision, zone: ZoneInfo) -> None:
    st.markdown(
        f"**What the gate judged**, by risk configuration {judged.config_version}, at {moment(judged.created_at, zone)}"
    )
    if judged.checks.empty:
        show_empty("The gate left no list of checks for this order.")
        return
    st.dataframe(
        judged.checks.assign(passed=judged.checks["passed"].map({True: "✓ passed", False: "✗ FAILED"})),
        hide_index=True,
        key="order_checks",
        alt="Checks of the gate with limit and observed value",
        column_config={
            "name": TextColumn("Check"),
            "limit": TextColumn("Limit"),
            "observed": TextColumn("Observed"),
            "passed": TextColumn("Result"),
        },
    )
