"""One order in full, in a drawer at the side: its life, its numbers, what the gate judged."""

from functools import partial
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import DatetimeColumn, TextColumn

from db.queries.orders import Decision, decision, order_by_id, order_events, order_moments
from pages.components.address import close
from pages.components.formats import NOTHING, moment, money, quantity, words
from pages.components.lifecycle import lifecycle, stages
from pages.components.messages import facts_html, note, page_boundary, show_empty
from pages.session.guard import Session

OPENED = "order"


def order_drawer(session: Session, order_id: str, zone: ZoneInfo) -> None:
    """Open the drawer of one order: its life, its events and the gate's checks."""
    found = order_by_id(session.client, order_id)
    if found.empty:
        title, show = "No such order", _missing
    else:
        order = found.iloc[0]
        title = f"{words(order['purpose'])}: {order['side']} {quantity(order['qty'])} {order['symbol']}"
        show = partial(_story, session, order, zone)
    st.dialog(title, width="medium", position="right", icon=":material/receipt_long:",
              on_dismiss=lambda: close(OPENED))(show)()  # fmt: skip


def _missing() -> None:
    show_empty("There is no such order among those that you may see. Check the address, or close this.")


def _story(session: Session, order: pd.Series, zone: ZoneInfo) -> None:
    with page_boundary("order"):
        note(f"{words(order['state'])}. {order['profile_name']}.")
        lifecycle(stages(order, order_moments(session.client, order)), zone)
        st.html(facts_html(_facts(order, zone)))
        _events(order_events(session.client, order["id"]), zone)
        judged = decision(session.client, order["id"])
        if judged:
            _checks(judged, zone)
        if isinstance(order["trade_id"], str) and order["filled_qty"] > 0:
            st.page_link("monitor/trades.py", label="The trade that it belongs to", icon=":material/swap_horiz:",
                         query_params={"trade": order["trade_id"]})  # fmt: skip


def _facts(order: pd.Series, zone: ZoneInfo) -> dict[str, str]:
    """Return the order's facts, by name."""
    return {
        "Code": _text(order["code"]),
        "Reason": _text(order["reason"]),
        "Type": f"{words(order['order_type'])}, {order['time_in_force'].upper()}",
        "Limit": money(order["limit_price"]),
        "Stop": money(order["stop_price"]),
        "Filled": f"{quantity(order['filled_qty'])} of {quantity(order['qty'])} at {money(order['filled_avg_price'])}",
        "Broker says": _text(order["broker_status"]),
        "Decided (market time)": moment(order["market_at"], zone),
        "Broker's last word (market time)": moment(order["broker_updated_at"], zone),
        "Order id": order["id"],
        "Broker's id": _text(order["broker_order_id"]),
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) and value else NOTHING


def _events(events: pd.DataFrame, zone: ZoneInfo) -> None:
    st.markdown("**What happened**")
    st.dataframe(
        events.assign(
            change=events["from_state"].fillna("").map(lambda state: f"{words(state)} → " if state else "")
            + events["to_state"].map(words),
            broker_status=events["broker_status"].fillna(""),
            reason=events["reason"].fillna(""),
        ),
        hide_index=True,
        placeholder=NOTHING,
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
        judged.checks.assign(passed=judged.checks["passed"].map({True: "✓ passed", False: "✗ FAILED"})).sort_values(
            "passed", ascending=False, kind="stable"
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="order_checks",
        alt="Checks of the gate with limit and observed value, those that failed first",
        column_order=["passed", "name", "limit", "observed"],
        column_config={
            "passed": TextColumn("Result"),
            "name": TextColumn("Check"),
            "limit": TextColumn("Limit"),
            "observed": TextColumn("Observed"),
        },
    )
