"""The versions of the risk configuration: who changed what, when and why, and the way back to one."""

from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, TextColumn

from db.commands import revert_risk_config
from db.errors import NotFound
from db.models import RiskConfig
from db.queries.risk_configs import risk_config_at
from pages.components.actions import act
from pages.components.address import close, open_selected
from pages.components.formats import count, moment
from pages.components.messages import note, page_boundary, plain, show_empty, tell
from pages.components.risk_form_fields import diff_lines, differences
from pages.components.tables import time_column
from pages.session.guard import Session

OPENED = "version"
_REASON_KEY = "revert_reason"


def versions_table(versions: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show versions; selecting one opens it in the address."""
    shown = pd.DataFrame(
        {
            "version": versions["version"],
            "state": versions["active"].map({True: "● Active", False: ""}),
            "changes": versions["diff"].map(lambda diff: len(diff_lines(diff))),
            "reason": versions["reason"],
            "by": versions["created_by_email"],
            "at": versions["created_at"],
        }
    )
    st.dataframe(
        shown, hide_index=True, key="risk_versions_table", selection_mode="single-row",
        on_select=open_selected(OPENED, "risk_versions_table", [str(int(v)) for v in versions["version"]]),
        alt="Versions of the risk configuration, the newest first, with who made each and why",
        column_config={
            "version": NumberColumn("Version", format="%d", pinned=True), "state": TextColumn("State"),
            "changes": NumberColumn("Changes", format="%d"), "reason": TextColumn("Reason", width="large"),
            "by": TextColumn("By"), "at": time_column("Saved", zone),
        },
    )  # fmt: skip


def for_export(versions: pd.DataFrame) -> pd.DataFrame:
    """Return versions with their changes as text, for CSV."""
    return versions.assign(diff=versions["diff"].map(lambda diff: "; ".join(diff_lines(diff))))


def version_drawer(session: Session, opened: str, active: RiskConfig, zone: ZoneInfo) -> None:
    """Open the drawer of one version: what it changed, and what going back to it would change."""
    try:
        found = risk_config_at(session.client, int(opened)) if opened.isdecimal() else None
    except NotFound:
        found = None
    show = partial(_story, found, active, zone) if found else _missing
    st.dialog(f"Version {opened}" if found else "No such version", width="medium", position="right",
              icon=":material/history:", on_dismiss=lambda: close(OPENED))(show)()  # fmt: skip


def _missing() -> None:
    show_empty("There is no such version. Check the address, or close this.")


def _story(found: dict[str, Any], active: RiskConfig, zone: ZoneInfo) -> None:
    with page_boundary("version"):
        saved = moment(pd.Timestamp(found["created_at"]).to_pydatetime(), zone)
        note(f"Saved by {found['created_by_email']}, {saved}.", f"Reason: {found['reason'] or 'none given'}")
        _list("What it changed", diff_lines(found["diff"]), "Nothing: it is the first one.")
        if found["version"] == active.version:
            note("This version is active.")
            return
        back = [change.words() for change in differences(active.config, found["config"])]
        _list(f"What going back would change in version {active.version}", back, "Nothing that has a field here.")
        st.text_input("Why go back to it", key=_REASON_KEY, max_chars=500, placeholder="It is kept with your name.")
        st.button(f"Make version {found['version']} active again", icon=":material/undo:", type="primary",
                  key="risk_revert", on_click=_revert, args=(found["version"], active.version),
                  help="Its content becomes a new version; none is lost.")  # fmt: skip


def _list(title: str, lines: list[str], nothing: str) -> None:
    st.markdown(f"**{title}**")
    st.markdown("\n".join(f"- {plain(line)}" for line in lines) or nothing)


def _revert(version: int, expected: int) -> None:
    reason = str(st.session_state.get(_REASON_KEY) or "").strip()
    if not reason:
        tell("**Nothing was changed.** Say why you go back to an earlier version.", failed=True)
        close(OPENED)
        return
    error = act(
        lambda client, id_: revert_risk_config(
            client, version=version, expected_version=expected, reason=reason, request_id=id_
        ),
        lambda answer: f"Done: version {answer.version} is active, with the content of version {version} "
                       f"({count(len(answer.diff), 'change')})." if answer.changed
                       else f"Nothing was changed: version {expected} holds the same.",
        content=("revert", version, expected, reason),
    )  # fmt: skip
    if error is None:
        close(OPENED)
