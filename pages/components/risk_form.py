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
_FILLING_KEY, _DRAWN_KEY = "_risk_filling", "_risk_drawn"


@dataclass(frozen=True)
class _Draft:
    """The version that the form was filled with, and the texts that it began with.

    `filling` counts the times that the form was filled: each has fields of its own, which begin with these texts.
    """

    version: int
    config: dict[str, Any]
    texts: dict[str, str]
    filling: int

    def key(self, field: Field) -> str:
        """Return the key of a setting's field."""
        return f"risk:{self.filling}:{field.path}"


def risk_form(active: RiskConfig, zone: ZoneInfo) -> None:
    """Show the configuration as a form; its clicks review, save, and settle a conflict. `active`: as it is now."""
    draft = _draft(active)
    with st.form("risk", enter_to_submit=False, border=False):
        for tab, sections in zip(st.tabs(list(TABS)), TABS.values(), strict=True):
            with tab:
                for section, title in sections.items():
                    _section(section, title, draft)
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
    st.session_state[_DRAWN_KEY] = draft.filling
    if kept := unknown_keys(active.config):
        note(f"Kept as they are, without a field here: {', '.join(kept)}.")


def _draft(active: RiskConfig) -> _Draft:
    draft: _Draft | None = st.session_state.get(_DRAFT_KEY)
    was_drawn = draft is not None and st.session_state.get(_DRAWN_KEY) == draft.filling
    if draft is None or (was_drawn and any(draft.key(field) not in st.session_state for field in fields().values())):
        _start_again()  # the page was left meanwhile, which forgets what its fields held
        draft = _fill(active, {})
    return draft


def _fill(active: RiskConfig, typed: dict[str, str]) -> _Draft:
    """Begin a form with a version; `typed`: the texts that are to stand instead of its own."""
    texts = {path: shown(field, stored(active.config, path)) for path, field in fields().items()} | typed
    filling = st.session_state.get(_FILLING_KEY, 0) + 1
    draft = _Draft(active.version, active.config, texts, filling)
    st.session_state[_FILLING_KEY], st.session_state[_DRAFT_KEY] = filling, draft
    return draft


def _section(section: str, title: str, draft: _Draft) -> None:
    st.markdown(f"**{title}**")
    with st.grid(4, min_column_width=210):
        for path, field in fields().items():
            if path.startswith(f"{section}."):
                _input(field, draft.texts[path], draft.key(field))


def _input(field: Field, text: str, key: str) -> None:
    if _is_switch(field):
        st.toggle(field.label, text == YES, key=key, help=field.help)
    elif field.kind == "flag":
        options = [YES, NO, NOT_SET]
        st.selectbox(field.label, options, options.index(text), key=key, help=field.help)
    elif field.kind == "map":
        st.text_area(field.label, text, key=key, help=field.help, height=150)
    else:
        st.text_input(field.label, text, key=key, help=field.help, placeholder=field.placeholder, max_chars=40)


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
    draft: _Draft = st.session_state[_DRAFT_KEY]
    changed, problems = _judged(draft)
    own = [change.field for change in changed] + [problem.field for problem in problems]
    _fill(active, {field.path: _typed(field, draft) for field in own})
    _look()


def _start_again() -> None:
    for key in (_DRAFT_KEY, _REVIEW_KEY):
        st.session_state.pop(key, None)
    st.session_state[_REASON_KEY] = ""


def _judged(draft: _Draft) -> tuple[list[Change], list[Problem]]:
    return changes(draft.config, {path: _typed(field, draft) for path, field in fields().items()})


def _typed(field: Field, draft: _Draft) -> str:
    value = st.session_state.get(draft.key(field), draft.texts[field.path])  # not there yet: as it began
    return (YES if value else NO) if isinstance(value, bool) else str(value or "")


def _is_switch(field: Field) -> bool:
    return field.kind == "flag" and not field.nullable
