"""Where our books and the broker's differ, what was done about it, and what a person should do."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, TextColumn

from pages.components.few import a_few
from pages.components.formats import NOTHING, age, words
from pages.components.messages import note, plain
from pages.components.tables import time_column

_SIGNS = {"critical": ":red[:material/error:]", "warning": ":orange[:material/warning:]"}


def open_finding_list(findings: pd.DataFrame, at: datetime) -> None:
    """Show what differs now, the critical first. `at`: now, by the database's clock."""
    for finding in a_few(findings, "findings").to_dict("records"):
        with st.container(border=True, key=f"finding_{finding['id']}"):
            sign = _SIGNS.get(finding["severity"], ":material/info:")
            st.markdown(f"{sign} **{plain(finding_words(finding))}** :gray-badge[{words(finding['severity'])}]")
            note(*finding_lines(finding), f"First seen {age(at - finding['first_seen_at'])} ago.")


def finding_words(finding: Mapping[Any, Any]) -> str:
    """Return what differs, and in which symbol."""
    symbol = f" in {finding['symbol']}" if isinstance(finding["symbol"], str) else ""
    return f"{words(finding['kind'].lower())}{symbol}, shard {finding['shard']}"


def finding_lines(finding: Mapping[Any, Any]) -> list[str]:
    """Return what was done, what to do, and what was found, a line each."""
    found = ", ".join(f"{words(name).lower()} {value}" for name, value in (finding["detail"] or {}).items())
    return [
        f"Done: {finding['action'] or 'nothing, it only looks.'}",
        f"To do: {finding['advice'] or 'nothing.'}",
        *([f"Found: {found}."] if found else []),
    ]


def findings_table(findings: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show differences that are gone, or that nobody minds by the account's policy."""
    shown = pd.DataFrame(
        {
            "kind": findings["kind"].str.lower().map(words),
            "symbol": findings["symbol"].fillna(NOTHING),
            "ended": findings["ignored"].map({True: "○ Not minded", False: "✓ Repaired"}),
            "severity": findings["severity"].map(words),
            "action": findings["action"],
            "detail": findings["detail"].map(json.dumps),
            "shard": findings["shard"],
            "first": findings["first_seen_at"],
            "last": findings["last_seen_at"],
        }
    )
    st.dataframe(
        shown, hide_index=True, placeholder=NOTHING, key="findings_table",
        alt="Past differences, the last seen first, and what was done",
        column_config={
            "kind": TextColumn("What differed", pinned=True), "symbol": TextColumn("Symbol"),
            "ended": TextColumn("How it ended"), "severity": TextColumn("Severity"),
            "action": TextColumn("What was done", width="large"), "detail": TextColumn("Found", width="medium"),
            "shard": TextColumn("Shard"), "first": time_column("First seen", zone),
            "last": time_column("Last seen", zone),
        },
    )  # fmt: skip


def runs_table(runs: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show the comparisons with the broker."""
    took = (runs["finished_at"] - runs["started_at"]).dt.total_seconds()
    shown = runs.assign(kind=runs["kind"].map(words), took=took)
    columns = ["finished_at", "kind", "shard", "orders_checked", "orders_changed", "positions_checked", "findings",
               "took"]  # fmt: skip
    st.dataframe(
        shown[columns], hide_index=True, placeholder=NOTHING, key="runs_table",
        alt="Comparisons with the broker, the last finished first",
        column_config={
            "finished_at": time_column("Finished", zone), "kind": TextColumn("Kind"), "shard": TextColumn("Shard"),
            "orders_checked": NumberColumn("Orders compared", format="localized"),
            "orders_changed": NumberColumn("Orders changed", format="localized"),
            "positions_checked": NumberColumn("Positions compared", format="localized"),
            "findings": NumberColumn("Differences", format="%d"), "took": NumberColumn("Took (s)", format="%.2f"),
        },
    )  # fmt: skip
