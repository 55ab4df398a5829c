"""The engines and their jobs: alive or not, with which lease, and which job is late against its limit."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, TextColumn

from pages.components.formats import NOTHING, age, count, moment, words
from pages.components.messages import facts_html, plain
from pages.components.tables import time_column

SILENT_AFTER = timedelta(seconds=15)  # as the alert ENGINE_DEAD ships


def engine_cards(engines: pd.DataFrame, jobs: pd.DataFrame, at: datetime, zone: ZoneInfo) -> None:
    """Show each shard's engine: alive or silent, its lease and its version. `at`: now, by the database's clock."""
    with st.grid(2, min_column_width=340):
        for engine in engines.to_dict("records"):
            with st.container(border=True, key=f"engine_{engine['shard']}"):
                sign, state, what = engine_state(engine, jobs[jobs["shard"] == engine["shard"]], at)
                st.markdown(f"{sign} **Shard {plain(engine['shard'])}: {state}.** {what}")
                st.html(facts_html(engine_facts(engine, at, zone)))


def engine_state(engine: Mapping[Any, Any], jobs: pd.DataFrame, at: datetime) -> tuple[str, str, str]:
    """Return a sign, a word and what to do for one engine with its jobs."""
    silent = at - engine["beat_at"]
    late = int((~jobs["healthy"].fillna(False)).sum())
    if silent > SILENT_AFTER:
        return ":red[:material/heart_broken:]", "silent", (
            f"No sign of life for {age(silent)}. Start it again: it takes the lease, compares the books, and goes on. "
            "Stops rest at the broker meanwhile."
        )  # fmt: skip
    if not _is_time(engine["lease_expires_at"]) or engine["lease_expires_at"] <= at:
        return ":orange[:material/key_off:]", "without lease", "It sends nothing until it holds the lease again."
    if late:
        return ":orange[:material/running_with_errors:]", f"alive, {count(late, 'job')} late", "See the table below."
    return ":green[:material/favorite:]", "alive", "Every job is within its limit."


def engine_facts(engine: Mapping[Any, Any], at: datetime, zone: ZoneInfo) -> dict[str, str]:
    """Return what is known of an engine, by name."""
    held = engine["lease_expires_at"]
    lease = NOTHING
    if _is_time(held):
        left = f"{age(held - at)} left" if held > at else f"ran out {age(at - held)} ago"
        lease = f"{engine['lease_holder']}, token {engine['lease_token']:.0f}, {left}"
    told = engine["detail"] or {}
    return {
        "Version": engine["version"] or NOTHING,
        "Last sign of life": f"{age(at - engine['beat_at'])} ago",
        "Running since": moment(engine["started_at"], zone),
        "Lease": lease,
        "Market time": moment(engine["market_at"], zone),
        **{_named(name): _value(value) for name, value in sorted(told.items())},
    }


def jobs_table(jobs: pd.DataFrame, at: datetime, zone: ZoneInfo) -> None:
    """Show the jobs, what is late at the top, each against the age that counts as dead."""
    shown = pd.DataFrame(
        {
            "state": jobs["healthy"].map({True: "✓ In time", False: "✗ Late"}).fillna("? Unknown"),
            "job": jobs["job"].map(words),
            "shard": jobs["shard"],
            "age": jobs["age_s"] + [max((at - beat).total_seconds(), 0) for beat in jobs["beat_at"]],
            "limit": jobs["limit_s"],
            "runs": jobs["runs"],
            "failures": jobs["failures"],
            "error": jobs["last_error"].fillna(""),
            "beat": jobs["beat_at"],
        }
    )
    st.dataframe(
        shown.sort_values(["state", "job"], key=_late_first), hide_index=True, placeholder=NOTHING,
        key="jobs_table", height="content",
        alt="The engines' jobs with the time since each last ended well, and its limit",
        column_config={
            "state": TextColumn("State", pinned=True), "job": TextColumn("Job"), "shard": TextColumn("Shard"),
            "age": NumberColumn("Last good run (s ago)", format="%.1f",
                                help="At the last sign of life, and the time since then"),
            "limit": NumberColumn("Limit (s)", format="%.0f", help="Older than this counts as dead"),
            "runs": NumberColumn("Runs", format="%d"), "failures": NumberColumn("Failures", format="%d"),
            "error": TextColumn("Last error", width="large"), "beat": time_column("Told at", zone),
        },
    )  # fmt: skip


def _late_first(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.map({"✗ Late": 0, "? Unknown": 1, "✓ In time": 2}) if column.name == "state" else column


def _named(name: str) -> str:
    return f"{words(name.removesuffix('_s'))} (s)" if name.endswith("_s") else words(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, dict | list):
        return ", ".join(map(str, value)) or NOTHING
    return NOTHING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) and not pd.isna(value)
