"""Why, or why not: the gate's answer for one symbol, now and at a past moment."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, TextColumn

from db import commands
from db.errors import NotFound
from db.models import Why
from db.queries.decisions import LOOK_BACK, entries_before, lockouts_at, modes_at
from pages.components.formats import NOTHING, moment, words
from pages.components.funnel_filters import symbols_of
from pages.components.messages import describe, note, show_empty
from pages.components.tables import state_words, time_column
from pages.components.targets import target_name
from pages.components.why_words import APPROVAL_REASONS, CHECKS, value_words
from pages.session.guard import Session

NOW, THEN = "Now", "At a past moment"
ASKED_AT_ONCE = 12


@dataclass(frozen=True)
class Question:
    """What is asked. `at` None: now; `profile_id` None: each profile that trades the symbol."""

    symbol: str
    side: str
    at: datetime | None
    profile_id: UUID | None


def question(profiles: pd.DataFrame, zone: ZoneInfo) -> Question | None:
    """Show the question, kept in the address; return it, or None when nothing can be asked yet."""
    symbols = symbols_of(profiles)
    if not symbols:
        show_empty("No profile that you can see trades anything.")
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        symbol = st.selectbox("Symbol", symbols, key="why_symbol", bind="query-params", width=160)
        side = st.segmented_control("Entry", ["long", "short"], default="long", required=True, format_func=words,
                                    key="why_side", bind="query-params")  # fmt: skip
        when = st.segmented_control("When", [NOW, THEN], default=NOW, required=True, key="why_when",
                                    bind="query-params")  # fmt: skip
        at = None
        if when == THEN:
            at = st.datetime_input("Moment", None, key="why_at", bind="query-params", width=260,
                                   step=60,
                                   help="By the database's clock, in the time zone of the header.")  # fmt: skip
    if when == THEN and at is None:
        show_empty("Choose the moment. The answer comes from what the gate wrote down then.")
        return None
    moment_asked = at.replace(tzinfo=zone).astimezone(UTC) if at else None
    of = None if moment_asked else _one_of_many(profiles, symbol)
    return Question(symbol, "buy" if side == "long" else "sell", moment_asked, of)


def _one_of_many(profiles: pd.DataFrame, symbol: str) -> UUID | None:
    """Return which profile is meant where too many trade a symbol to ask for all of them at once."""
    trading = profiles[[symbol in symbols for symbols in profiles["symbols"]]]
    if len(trading) <= ASKED_AT_ONCE:
        return None
    labels = dict(zip(trading["name"] + " (" + trading["id"].str[:8] + ")", trading["id"], strict=True))
    return UUID(labels[st.selectbox("Profile", list(labels), key="why_of", bind="query-params", width=320)])


def answer_now(session: Session, asked: Question, zone: ZoneInfo) -> None:
    """Show what the gate would say to one share at the last known price, profile by profile."""
    try:
        answers = commands.why(session.client, symbol=asked.symbol, side=asked.side, profile_id=asked.profile_id)
    except NotFound as e:
        show_empty(describe(e))
        return
    st.caption(
        f"Asked of the gate at {moment(answers[0].judged_at, zone)}: one share at the last known price, "
        f"with a fresh signal and a fresh quote. Risk configuration {answers[0].config_version}."
    )
    st.dataframe(
        _answers(answers),
        hide_index=True,
        placeholder=NOTHING,
        key="why_answers",
        alt="What the gate would answer, one row a profile",
        column_config={
            "answer": TextColumn("Answer", pinned=True),
            "profile": TextColumn("Profile"),
            "reason": TextColumn("Why", width="large"),
            "code": TextColumn("Code"),
        },
    )
    chosen = st.selectbox("Every check for", [answer.profile for answer in answers], key="why_profile", width=320)
    judged = next(answer for answer in answers if answer.profile == chosen)
    checks_table(judged.checks, key="why_checks")


def answer_then(session: Session, asked: Question, names: dict[str, str], zone: ZoneInfo) -> None:
    """Show the gate's last answers in a symbol up to a past moment, and what held then."""
    assert asked.at is not None
    note(*_what_held(session, asked, asked.at, names))
    found = entries_before(session.client, asked.symbol, asked.at)
    found = found[found["side"] == asked.side]
    if found.empty:
        show_empty(
            f"No {asked.side} entry in {asked.symbol} is among the last ten that were put to the gate in the "
            f"{LOOK_BACK.days} days up to {moment(asked.at, zone)}: no strategy asked, or a layer kept its signal "
            "back. The Signals page shows those."
        )
        return
    st.dataframe(
        found.assign(state=found["state"].map(state_words), link="/decisions?order=" + found["id"],
                     reason=found["reason"].fillna("Every check passed.")),
        hide_index=True,
        placeholder=NOTHING,
        key="why_then",
        alt="The gate's last answers up to the moment, the newest first, each with a link to its checks",
        column_order=["link", "created_at", "state", "code", "reason", "profile_name"],
        column_config={
            "link": LinkColumn("Checks", display_text="Open", width="small"),
            "created_at": time_column("Recorded", zone),
            "state": TextColumn("State"),
            "code": TextColumn("Code"),
            "reason": TextColumn("Why", width="large"),
            "profile_name": TextColumn("Profile"),
        },
    )  # fmt: skip


def checks_table(checks: list[dict[str, Any]], *, key: str) -> None:
    """Show checks in plain words, those that failed first."""
    shown = pd.DataFrame(
        {
            "result": ["✓ yes" if check["passed"] else "✗ NO" for check in checks],
            "asks": [CHECKS.get(check["name"], words(check["name"])) for check in checks],
            "limit": [value_words(check["limit"]) for check in checks],
            "observed": [value_words(check["observed"]) for check in checks],
            "code": [check["name"] for check in checks],
            "failed": [not check["passed"] for check in checks],
        }
    )
    st.dataframe(
        shown.sort_values("failed", ascending=False, kind="stable"),
        hide_index=True,
        key=key,
        height=430,
        alt="Checks of the gate with limit and observed value, those that failed first",
        column_order=["result", "asks", "observed", "limit", "code"],
        column_config={
            "result": TextColumn("Holds", width="small"),
            "asks": TextColumn("What is asked", width="large"),
            "observed": TextColumn("Observed"),
            "limit": TextColumn("Limit"),
            "code": TextColumn("Code"),
        },
    )


def _answers(answers: list[Why]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "answer": ["✓ Would pass" if answer.code is None else "✗ Would be denied" for answer in answers],
            "profile": [answer.profile for answer in answers],
            "reason": [_because(answer) for answer in answers],
            "code": [answer.code or "" for answer in answers],
        }
    )


def _because(answer: Why) -> str:
    if answer.code is not None:
        locked = f" Locked out because: {answer.lock_reason}" if answer.code == "SYMBOL_LOCKED" else ""
        return f"{answer.reason}{locked}"
    if answer.approval:
        asks = ", ".join(APPROVAL_REASONS.get(reason, words(reason)) for reason in answer.approval)
        return f"Every check passes; then a person has to approve: {asks}."
    return "Every check passes."


def _what_held(session: Session, asked: Question, at: datetime, names: dict[str, str]) -> list[str]:
    concerns = {"global": ["*"], "profile": list(names), "symbol": [asked.symbol]}
    held = [
        f"{target_name(row.scope, row.scope_key, names)}: {row.to_mode}, set by {row.changed_by_email}: {row.reason}"
        for row in modes_at(session.client, at).itertuples()
        if row.to_mode != "RUNNING" and row.scope_key in concerns[row.scope]
    ]
    locked = [
        f"{row.ticker} was locked out by {row.created_by_email}: {row.reason}"
        for row in lockouts_at(session.client, asked.symbol, at).itertuples()
    ]
    return [
        *(held or ["Nothing was paused or halted then."]),
        *(locked or [f"{asked.symbol} was not locked out then."]),
    ]
