"""What surrounds every page: the guard, navigation by role, the header, and the boundary for errors."""

from itertools import chain
from pathlib import Path

import streamlit as st

from pages.components.header import header
from pages.components.messages import page_boundary, show_messages
from pages.session.guard import require_session
from pages.session.status import known_role, read_status

PAGES = Path(__file__).resolve().parent
ART = PAGES / "components"


def main() -> None:
    """Run the page that was asked for inside the frame."""
    st.set_page_config(page_title="Interlock", page_icon=(ART / "favicon.svg").read_text(), layout="wide")
    st.logo((ART / "logo.svg").read_text(), size="large")
    with page_boundary():
        session = require_session()
        read_status(session.client)
        offered = _pages_for(known_role())
        page = st.navigation(offered)
        header(session, list(chain.from_iterable(offered.values())))
        with st.container():  # its place stays, so that the page beneath does not move under somebody's hands
            show_messages()
        with page_boundary():
            page.run()


def _pages_for(role: str) -> dict[str, list[st.Page]]:
    """Return the pages to offer. Leaving one out is a courtesy; the database refuses, not the menu."""
    sections = {
        "Monitor": [
            st.Page(PAGES / "monitor" / "overview.py", title="Overview", icon=":material/monitoring:", default=True),
            st.Page(PAGES / "monitor" / "positions.py", title="Positions", icon=":material/stacked_line_chart:"),
            st.Page(PAGES / "monitor" / "orders.py", title="Orders", icon=":material/receipt_long:"),
            st.Page(PAGES / "monitor" / "trades.py", title="Trades", icon=":material/swap_horiz:"),
            st.Page(PAGES / "monitor" / "performance.py", title="Performance", icon=":material/query_stats:"),
        ],
    }
    operate = PAGES / "operate"
    control = st.Page(operate / "control.py", title="Control", icon=":material/tune:")
    approvals = st.Page(operate / "approvals.py", title="Approvals", icon=":material/approval:")
    lockouts = st.Page(operate / "lockouts.py", title="Lockouts", icon=":material/lock_clock:")
    offered = {"admin": [control, approvals, lockouts], "operator": [approvals, lockouts]}
    return sections | {"Operate": offered.get(role, [lockouts])} | _analyse_pages() | _admin_pages(role)


def _analyse_pages() -> dict[str, list[st.Page]]:
    """Return the section of whoever asks why; each sees what row-level security shows them."""
    analyse = PAGES / "analyse"
    return {
        "Analyse": [
            st.Page(analyse / "decisions.py", title="Decisions", icon=":material/rule:"),
            st.Page(analyse / "what_if.py", title="What if", icon=":material/alt_route:"),
            st.Page(analyse / "cost_of_control.py", title="Cost of control", icon=":material/balance:"),
            st.Page(analyse / "signals.py", title="Signals", icon=":material/sensors:"),
        ]
    }


def _admin_pages(role: str) -> dict[str, list[st.Page]]:
    """Return the section of whoever runs the installation; analysts have none."""
    admin = PAGES / "admin"
    risk = st.Page(admin / "risk.py", title="Risk", icon=":material/rule_settings:")
    profiles = st.Page(admin / "profiles.py", title="Profiles", icon=":material/smart_toy:")
    members = st.Page(admin / "members.py", title="Members", icon=":material/group:")
    audit = st.Page(admin / "audit.py", title="Audit", icon=":material/policy:")
    engine = st.Page(admin / "engine.py", title="Engine", icon=":material/manufacturing:")
    alerts = st.Page(admin / "alerts.py", title="Alerts", icon=":material/notifications:")
    offered = {"admin": [risk, profiles, members, audit, engine, alerts], "operator": [profiles, engine, alerts]}
    return {"Admin": offered[role]} if role in offered else {}


main()
