"""Resuming: what stands in the way of it, in plain words, and how to go on all the same."""

from dataclasses import dataclass
from decimal import Decimal

import streamlit as st

from db.commands import preflight_resume, resume_trading
from db.errors import PreflightFailed
from db.models import Preflight, PreflightItem, ScopeControl
from pages.components.actions import act
from pages.components.formats import count
from pages.components.messages import answer_words, note, tell
from pages.components.preflight import item_detail, item_words
from pages.components.targets import Target
from pages.session.guard import Session

REASON_MAX = 500
REASON_KEY = "control_reason"
_OVERRIDE_KEY = "control_override"
_REFUSED_KEY = "_resume_refused"
_ENTRIES_KEY = "control_stage_entries"
_HOW_KEY = "control_stage_how"
_FRACTIONS = {"Each needs approval": None} | {
    f"At {percent} % of their size": Decimal(percent) / 100 for percent in (10, 25, 50, 75)
}


@dataclass(frozen=True)
class _Choice:
    """What a person wants of a resume."""

    reason: str
    entries: int | None
    fraction: Decimal | None
    override: str | None = None


def resume_fields(target: Target, control: ScopeControl | None) -> None:
    """Offer the resume of a scope, all at once or in a stage; to be shown within a form."""
    entries, how = st.columns(2)
    entries.number_input("Staged: first entries", min_value=0, max_value=10_000, value=0, step=1, key=_ENTRIES_KEY,
                         help="A staged resume: so many entries are held back before all is as usual.")  # fmt: skip
    how.selectbox("How they are held back", list(_FRACTIONS), key=_HOW_KEY)
    st.caption("0: all entries flow again as usual, at once.")
    st.form_submit_button(
        "Resume auto-trading", icon=":material/play_circle:", on_click=_resume, args=(target, control),
        disabled=control is None or control.mode == "RUNNING", key="control_resume",
        help="Entries may flow again, if everything on the pre-flight list is met.",
    )  # fmt: skip


def preflight_panel(session: Session, target: Target, control: ScopeControl | None) -> None:
    """While a scope is stopped, show what a resume needs; once it was refused, offer to resume all the same."""
    if control is None or control.mode == "RUNNING":
        st.session_state.pop(_REFUSED_KEY, None)
        return
    found = preflight_resume(session.client, scope=target.scope, scope_key=target.key)  # type: ignore[arg-type]
    was_refused = st.session_state.get(_REFUSED_KEY) == (target, control.version)
    with st.expander(_summary(found), expanded=not found.ok, icon=":material/checklist:", key="preflight"):
        for item in sorted(found.items, key=lambda item: item.ok):
            _show(item)
        st.button("Look again", icon=":material/refresh:", key="preflight_again")
    if was_refused and not found.ok:
        _override_form(target, control)


def _summary(found: Preflight) -> str:
    failing = sum(not item.ok for item in found.items)
    if not failing:
        return "Pre-flight: everything that a resume needs is met"
    return f"Pre-flight: {count(failing, 'thing')} in the way of a resume"


def _show(item: PreflightItem) -> None:
    if item.ok:
        st.markdown(f":green[:material/check_circle:] {item_words(item)}")
    else:
        st.markdown(f":red[:material/cancel:] **NOT MET:** {item_words(item)}")
        note(item_detail(item))


def _override_form(target: Target, control: ScopeControl) -> None:
    with st.form("override", enter_to_submit=False):
        st.markdown(":material/warning: **Trading was not resumed.** To resume although the items above are not met, "
                    "say why it is safe. It is kept with your name and with what was not met.")  # fmt: skip
        st.text_input("Why it is safe all the same", key=_OVERRIDE_KEY, max_chars=REASON_MAX)
        st.form_submit_button("Resume all the same", icon=":material/warning:", on_click=_override,
                              args=(target, control), key="control_override_resume")  # fmt: skip


def _resume(target: Target, control: ScopeControl) -> None:
    reason = str(st.session_state[REASON_KEY]).strip()
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    _send(target, control, _Choice(reason, *_stage()))


def _override(target: Target, control: ScopeControl) -> None:
    override = str(st.session_state[_OVERRIDE_KEY]).strip()
    if not override:
        tell("**Nothing was changed.** Say why it is safe to resume all the same.", failed=True)
        return
    reason = str(st.session_state[REASON_KEY]).strip() or override
    _send(target, control, _Choice(reason, *_stage(), override=override))


def _stage() -> tuple[int | None, Decimal | None]:
    entries = int(st.session_state[_ENTRIES_KEY] or 0)
    return (entries, _FRACTIONS[st.session_state[_HOW_KEY]]) if entries else (None, None)


def _send(target: Target, control: ScopeControl, choice: _Choice) -> None:
    error = act(
        lambda client, id_: resume_trading(
            client, reason=choice.reason, request_id=id_, scope=target.scope, scope_key=target.key,  # type: ignore[arg-type]
            expected_version=control.version, override_reason=choice.override, stage_entries=choice.entries,
            stage_fraction=choice.fraction,
        ),
        lambda answer: answer_words(answer, "RUNNING", target.name),
        content=("resume", target, control.version, choice),
    )  # fmt: skip
    if isinstance(error, PreflightFailed):
        st.session_state[_REFUSED_KEY] = (target, control.version)
    elif error is None:
        st.session_state[REASON_KEY], st.session_state[_ENTRIES_KEY] = "", 0
        st.session_state.pop(_REFUSED_KEY, None)
