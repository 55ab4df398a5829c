"""The outbox of the alerts: what was told, what could not be, and a test of the way there."""

from functools import partial
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, TextColumn

from db.commands import test_alert as send_test
from db.queries.alerts import notices
from db.queries.paging import all_pages
from pages.components.actions import act
from pages.components.export import csv_button
from pages.components.formats import NOTHING, words
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.tables import time_column
from pages.session.guard import Session

PAGE_ROWS = 50


def outbox(session: Session, zone: ZoneInfo, *, may_test: bool) -> None:
    """Show the notices page by page; whoever may is offered to send a test."""
    if may_test:
        _test_button()
    pager = Pager("notices", ())
    page = notices(session.client, pager.cursor, size=PAGE_ROWS)
    if page.found.empty:
        show_empty("No notice was ever made.")
        return
    _table(page.found, zone)
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(page.next)
        csv_button("notices", lambda: all_pages(partial(notices, session.client)))


_NOTICE_SIGNS = {"sent": "✓", "failed": "✗", "expired": "✗", "queued": "○", "sending": "●"}


def _table(found: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show the outbox: each notice and what became of it."""
    shown = pd.DataFrame(
        {
            "status": found["status"].map(lambda status: f"{_NOTICE_SIGNS[status]} {words(status)}"),
            "event": found["event"].map(words),
            "title": found["title"],
            "attempts": found["attempts"],
            "error": found["last_error"].fillna(""),
            "created": found["created_at"],
            "ended": found["ended_at"],
        }
    )
    st.dataframe(
        shown, hide_index=True, placeholder=NOTHING, key="notices_table",
        alt="Notices in the outbox, the latest first",
        column_config={
            "status": TextColumn("State", pinned=True), "event": TextColumn("Of"),
            "title": TextColumn("Title", width="large"), "attempts": NumberColumn("Attempts", format="%d"),
            "error": TextColumn("Last error", width="medium"), "created": time_column("Made", zone),
            "ended": time_column("Ended", zone),
        },
    )  # fmt: skip


def _test_button() -> None:
    """Offer to send a notice that only shows whether notices arrive."""
    st.button("Send a test", icon=":material/send:", key="alerts_test", on_click=_test,
              help="A notice goes the way of every other one. Its fate is in the outbox below.")  # fmt: skip


def _test() -> None:
    act(
        lambda client, id_: send_test(client, request_id=id_),
        lambda test: "Done: a test waits in the outbox and goes out within seconds." if test.notifier
        else "A test waits in the outbox, but no engine has anywhere to send it to: set ALERT_URLS for the engine.",
        content=("test alert",),
    )  # fmt: skip
