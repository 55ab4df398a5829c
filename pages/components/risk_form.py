"""The form of the risk configuration: by section, reviewed before it is saved, and nothing lost in a conflict."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import TextColumn

from db.commands import update_risk_config
from db.models import RiskConfig
from pages.components.actions import act
from pages.components.formats import count, moment
from pages.components.messages import note, plain, tell
from pages.components.risk_form_fields import (
    NO,
    NOT_SET,
    YES,
    Change,
    Field,
    Problem,
    applied,
    changes,
    differences,
    fields,
    shown,
    stored,
    unknown_keys,
)
from pages.components.risk_form_labels import TABS

_DRAFT_KEY, _REVIEW_KEY, _REASON_KEY = "_risk_draft", "_risk_review", "risk_reason"


@dataclass(frozen=True)
class _Draft:
    """The version that the form was filled with."""

    version: int
    config: dict[str, Any]


def risk_form(active: RiskConfig, zone: ZoneInfo) -> None:
    """Show the configuration as a form; its clicks review, save, and settle a conflict. `active`: as it is now."""
    draft = _draft(active)
    with st.form("risk", enter_to_submit=False, border=False):
        for tab, sections in zip(st.tabs(list(TABS)), TABS.values(), strict=True):
            with tab:
                for section, title in sections.items():
                    _section(section, title)
        _review(draft)
        if active.version != draft.version:
            _conflict(draft, active, zone)
        st.text_input("Reason", key=_REASON_KEY, max_chars=500, placeholder="Why, in a few words. Kept with your name.")
        with st.container(horizontal=True):
            st.form_submit_button("Review the changes", icon=":material/difference:", on_click=_look, key="risk_review")
            st.form_submit_button("Save", icon=":material/save:", type="primary", on_click=_save, key="risk_save",
                                  disabled=active.version != draft.version or not st.session_state.get(_REVIEW_KEY),
                                  help="Possible once the changes were reviewed.")  # fmt: skip
            st.form_submit_button("Start again", icon=":material/restart_alt:", on_click=_start_again, key="risk_again")
    if kept := unknown_keys(active.config):
        note(f"Kept as they are, without a field here: {', '.join(kept)}.")


def _draft(active: RiskConfig) -> _Draft:
    draft: _Draft | None = st.session_state.get(_DRAFT_KEY)
    if draft is None or any(_key(path) not in st.session_state for path in fields()):
        draft = _Draft(active.version, active.config)
        _fill(draft)
    return draft


def _fill(draft: _Draft, keep: frozenset[str] = frozenset()) -> None:
    """Put a version into the form, but for the fields that are to keep what was typed."""
    st.session_state[_DRAFT_KEY] = draft
    for path, field in fields().items():
        if path not in keep:
            text = shown(field, stored(draft.config, path))
            st.session_state[_key(path)] = text == YES if _is_switch(field) else text


def _section(section: str, title: str) -> None:
    st.markdown(f"**{title}**")
    with st.grid(4, min_column_width=210):
        for path, field in fields().items():
            if path.startswith(f"{section}."):
                _input(field)


def _input(field: Field) -> None:
    key = _key(field.path)
    if _is_switch(field):
        st.toggle(field.label, key=key, help=field.help)
    elif field.kind == "flag":
        st.selectbox(field.label, [YES, NO, NOT_SET], key=key, help=field.help)
    elif field.kind == "map":
        st.text_area(field.label, key=key, help=field.help, height=150)
    else:
        st.text_input(field.label, key=key, help=field.help, placeholder=field.placeholder, max_chars=40)


def _review(draft: _Draft) -> None:
    """Show what was changed at the last look, and what cannot be taken."""
    for problem in _judged(draft)[1] if _REVIEW_KEY in st.session_state else []:
        st.error(plain(f"{problem.field.name}: {problem.message}"), icon=":material/error:")
    reviewed: tuple[Change, ...] = st.session_state.get(_REVIEW_KEY, ())
    if reviewed:
        st.markdown(f"**{count(len(reviewed), 'change')} to version {draft.version}:**")
        st.markdown("\n".join(f"- {plain(change.words())}" for change in reviewed))


def _conflict(draft: _Draft, active: RiskConfig, zone: ZoneInfo) -> None:
    """Show both sides of every setting that was changed since the form was filled."""
    st.warning(
        plain(f"{active.created_by_email} saved version {active.version} at {moment(active.created_at, zone)}: ")
        + plain(f"{active.reason}. You began with version {draft.version}. Nothing that you typed is lost."),
        icon=":material/call_split:",
    )
    st.dataframe(
        conflict_table(draft.config, active.config, _judged(draft)[0]), hide_index=True, key="risk_conflict",
        alt="Settings that you or somebody else has changed, with both values",
        column_config={"both": TextColumn("", width="small", help="Changed by both")},
    )  # fmt: skip
    st.form_submit_button(f"Go on from version {active.version} with my values", icon=":material/merge:",
                          on_click=_rebase, args=(active,), key="risk_rebase")  # fmt: skip


def conflict_table(base: dict[str, Any], now: dict[str, Any], mine: list[Change]) -> pd.DataFrame:
    """Return each setting that one side has changed: its name, as it was, as it is now, and what was typed."""
    theirs = {change.field.path: change for change in differences(base, now)}
    own = {change.field.path: change for change in mine}
    lines = []
    for path, field in fields().items():
        if path in theirs or path in own:
            old = field.unit_words(stored(base, path))
            lines.append(
                {
                    "both": "both" if path in theirs and path in own else "",
                    "Setting": field.name,
                    "When you began": old,
                    "Now": field.unit_words(theirs[path].new) if path in theirs else old,
                    "Yours": field.unit_words(own[path].new) if path in own else "not changed",
                }
            )
    return pd.DataFrame(lines, columns=["both", "Setting", "When you began", "Now", "Yours"])


def _look() -> None:
    changed, problems = _judged(st.session_state[_DRAFT_KEY])
    st.session_state[_REVIEW_KEY] = tuple(changed)
    if problems:
        tell(f"**Nothing was saved.** {count(len(problems), 'value')} cannot be taken: see below.", failed=True)
    elif not changed:
        tell("Nothing differs from the version that the form was filled with.")


def _save() -> None:
    draft: _Draft = st.session_state[_DRAFT_KEY]
    changed, problems = _judged(draft)
    reason = str(st.session_state[_REASON_KEY]).strip()
    if problems or not changed or tuple(changed) != st.session_state.get(_REVIEW_KEY):
        _look()
        if changed and not problems:
            tell(
                "**Nothing was saved.** You have typed more since you reviewed: look at the changes again.", failed=True
            )
        return
    if not reason:
        tell("**Nothing was saved.** A reason is required: say in a few words why.", failed=True)
        return
    error = act(
        lambda client, id_: update_risk_config(
            client, config=applied(draft.config, changed), expected_version=draft.version, reason=reason, request_id=id_
        ),
        lambda answer: f"Done: version {answer.version} is active, with {count(len(changed), 'change')}.",
        content=("risk", draft.version, reason, *(change.words() for change in changed)),
    )
    if error is None:
        _start_again()


def _rebase(active: RiskConfig) -> None:
    changed, problems = _judged(st.session_state[_DRAFT_KEY])
    _fill(
        _Draft(active.version, active.config),
        keep=frozenset(change.field.path for change in changed) | {problem.field.path for problem in problems},
    )
    _look()


def _start_again() -> None:
    for key in (_DRAFT_KEY, _REVIEW_KEY):
        st.session_state.pop(key, None)
    st.session_state[_REASON_KEY] = ""


def _judged(draft: _Draft) -> tuple[list[Change], list[Problem]]:
    return changes(draft.config, {path: _typed(field) for path, field in fields().items()})


def _typed(field: Field) -> str:
    value = st.session_state.get(_key(field.path))
    return (YES if value else NO) if _is_switch(field) else str(value or "")


def _is_switch(field: Field) -> bool:
    return field.kind == "flag" and not field.nullable


def _key(path: str) -> str:
    return f"risk:{path}"
