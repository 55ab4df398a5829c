"""From signal to fill: how many got how far in a period, and what kept the others back."""

from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, NumberColumn, TextColumn

from db.queries.decisions import COUNTED_MAX, DecisionFilters, Outcomes, blocked_in_period, entry_outcomes
from pages.charts.funnel import funnel_figure, funnel_in_words
from pages.components.address import open_selected
from pages.components.formats import NOTHING, words
from pages.components.messages import show_empty
from pages.components.tables import USD, state_words, time_column
from pages.components.why_words import code_words
from pages.session.guard import Session

# Where an entry stands that the gate let through at once or after a person's yes.
_NOT_RELEASED = ("denied", "awaiting_approval", "approval_rejected", "approval_expired")


def show_funnel(session: Session, filters: DecisionFilters, profile_ids: list[str]) -> None:
    """Show the period's funnel, and beside it what kept entries back, by code."""
    entries = entry_outcomes(session.client, filters)
    blocked = blocked_in_period(session.client, profile_ids, filters)
    if entries.found.empty and blocked.found.empty:
        show_empty("No strategy asked for an entry in this period. Choose a longer one, or take a filter away.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        steps = funnel_steps(entries.found, len(blocked.found))
        st.plotly_chart(funnel_figure(steps), key="funnel", alt=funnel_in_words(steps))
    with right:
        _stopped(stopped_by(entries.found, blocked.found))
    _limits_of_counting(entries, blocked)


def funnel_steps(entries: pd.DataFrame, blocked: int) -> pd.DataFrame:
    """Return how many got to each step.

    Parameters
    ----------
    entries : columns OUTCOME_COLUMNS; `blocked`: signals that a layer kept from the gate

    Returns
    -------
    DataFrame; columns `name`, `count`; each count is at most the one before.
    """
    passed = (entries["state"] != "denied") | entries["ready_at"].notna()
    released = ~entries["state"].isin(_NOT_RELEASED) & entries["ready_at"].notna()
    sent = released & (entries["submitted_at"].notna() | (entries["filled_qty"] > 0))
    counts = {
        "Wanted by a strategy": len(entries) + blocked,
        "Asked of the gate": len(entries),
        "Passed the gate": int(passed.sum()),
        "Released (approved where asked)": int(released.sum()),
        "Sent to the broker": int(sent.sum()),
        "Filled, in part or whole": int((sent & (entries["filled_qty"] > 0)).sum()),
    }
    return pd.DataFrame({"name": list(counts), "count": list(counts.values())})


def stopped_by(entries: pd.DataFrame, blocked: pd.DataFrame) -> pd.DataFrame:
    """Return what kept how many back, the most frequent first; columns `code`, `step`, `count`."""
    by_layer = blocked["blocked_by"].value_counts()
    denied = entries.loc[entries["state"] == "denied", "code"].value_counts()
    others = ("approval_rejected", "approval_expired", "canceled", "expired", "rejected")
    later = entries.loc[entries["state"].isin(others) & (entries["filled_qty"].fillna(0) == 0), "state"].value_counts()
    parts = [("Layer", by_layer), ("Gate", denied), ("After the gate", later)]
    found = [
        {"code": str(code), "step": step, "count": int(count)}
        for step, counts in parts for code, count in counts.items()
    ]  # fmt: skip
    frame = pd.DataFrame(found, columns=["code", "step", "count"])
    return frame.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def decisions_table(entries: pd.DataFrame, zone: ZoneInfo, *, opens: str) -> None:
    """Show entries as the gate answered them; selecting one opens its checks under the name `opens`."""
    st.dataframe(
        entries.assign(
            state=entries["state"].map(state_words),
            side=entries["side"].map(words),
            code=entries["code"].fillna(""),
            reason=entries["reason"].fillna(""),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="decisions_table",
        on_select=open_selected(opens, "decisions_table", entries["id"].tolist()),
        selection_mode="single-row",
        height=430,
        alt="Entries that were put to the gate, the newest first, with its answer and how they ended",
        column_order=["state", "symbol", "side", "code", "reason", "qty", "limit_price", "profile_name", "market_at",
                      "created_at"],
        column_config={
            "state": TextColumn("State", pinned=True),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "code": TextColumn("Code", width=190),
            "reason": TextColumn("Reason", width="large"),
            "qty": NumberColumn("Quantity", format="localized"),
            "limit_price": NumberColumn("Limit", format=USD),
            "profile_name": TextColumn("Profile"),
            "market_at": time_column("Decided (market time)", zone),
            "created_at": time_column("Recorded", zone),
        },
    )  # fmt: skip


def _stopped(stopped: pd.DataFrame) -> None:
    if stopped.empty:
        show_empty("Nothing was kept back: every entry of the period went through.")
        return
    st.dataframe(
        stopped.assign(
            meaning=stopped["code"].map(code_words),
            link=[_link_to(code) if step == "Gate" else None
                  for code, step in zip(stopped["code"], stopped["step"], strict=True)],
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="stopped_table",
        alt="What kept entries back in this period, the most frequent first",
        column_order=["count", "code", "meaning", "step", "link"],
        column_config={
            "count": NumberColumn("Entries", format="localized"),
            "code": TextColumn("By"),
            "meaning": TextColumn("What it means", width="large"),
            "step": TextColumn("Where"),
            "link": LinkColumn("List", display_text="Show", width="small"),
        },
    )  # fmt: skip


def _link_to(code: str) -> str:
    """Return the address of this page with the same period and filters, narrowed to a code."""
    kept = {name: st.query_params.get_all(name) for name in st.query_params if name.startswith("decisions_")}
    return "/decisions?" + urlencode(kept | {"decisions_code": [code]}, doseq=True)


def _limits_of_counting(entries: Outcomes, blocked: Outcomes) -> None:
    if not entries.is_all:
        st.caption(f"Counted: the newest {COUNTED_MAX:,} entries of the period. Choose a shorter period for the rest.")
    if not blocked.is_all:
        st.caption("Not every signal that a layer kept back is counted. Choose a profile or a shorter period.")
