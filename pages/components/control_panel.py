"""The control panel: what mode trading is in, and how to change it."""

from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from db.commands import pause_trading
from db.models import Stage, TradingStatus
from pages.components.actions import act
from pages.components.badge import mode_words
from pages.components.formats import age, count, moment, share
from pages.components.messages import answer_words, describe, note, tell
from pages.components.resume import REASON_KEY, REASON_MAX, resume_fields
from pages.components.targets import Target, target_name
from pages.components.time_zone import chosen_zone
from pages.session.status import Reading

_CANCEL_KEY = "control_cancel_entries"
_RESUME_AT_KEY = "control_resume_at"

_KIND_KEY = "control_kind"
# Kept with each pause, so that they can be counted by kind; the words beside it say the rest.
KINDS = {
    "manual": "Other", "news": "News or event", "volatility": "Unusual prices", "data": "Data in doubt",
    "strategy": "Strategy in doubt", "incident": "Technical trouble", "maintenance": "Maintenance", "test": "Test",
}  # fmt: skip

MEANINGS = {
    "RUNNING": "Strategies may open new positions. Every entry still has to pass the gate.",
    "PAUSED": "No new positions will be opened. Open positions keep their stops and can still be closed.",
    "HALTED": "Nothing but cancellations is sent. Stops and targets that rest at the broker stay there.",
}
_BANNERS = {"RUNNING": (st.success, ":material/play_circle:"), "PAUSED": (st.warning, ":material/pause_circle:"),
            "HALTED": (st.error, ":material/stop_circle:")}  # fmt: skip


def mode_banner(reading: Reading, zone: ZoneInfo) -> None:
    """Show the mode in large, what it means, and who set it when and why."""
    status = reading.status
    if status is None:
        problem = describe(reading.error) if reading.error else ""
        st.error(f"### AUTO-TRADING: UNKNOWN\nWhether entries may flow is not known. {problem}", icon=":material/help:")
        return
    show, icon = _BANNERS[status.mode]
    show(f"### AUTO-TRADING: {status.mode}\n{MEANINGS[status.mode]}", icon=icon)
    reason = f" Reason: {status.reason}" if status.reason else ""
    ends = f" Ends by itself at {moment(status.resume_at, zone)}." if status.resume_at else ""
    note(
        f"{mode_words(status)}. Set by {status.lastChangedBy} {age(status.checked_at - status.changed_at)} ago "
        f"({moment(status.changed_at, zone)}).{reason}{ends}"
    )
    if status.stage:
        st.info(f"**Staged resume:** {_staged(status.stage)}", icon=":material/stairs:")


def narrower_scopes(status: TradingStatus, profile_names: dict[str, str], zone: ZoneInfo) -> None:
    """Show the profiles and symbols that do not simply run, whatever holds for all of trading."""
    for held in status.scopes:
        name = target_name(held.scope, held.scope_key, profile_names)
        what = f"staged resume, {_staged(held.stage)}" if held.stage else held.mode
        ends = f" Ends by itself at {moment(held.resume_at, zone)}." if held.resume_at else ""
        note(
            f"{name}: {what}. Set by {held.changed_by_email} {age(status.checked_at - held.changed_at)} ago: "
            f"{held.reason}.{ends}"
        )


def draining_progress(status: TradingStatus, zone: ZoneInfo) -> None:
    """Show how far a pause has taken hold: which entries are still on their way, or that none is."""
    if status.mode == "RUNNING":
        return
    if status.phase == "quiesced":
        st.markdown(f":material/task_alt: **Quiesced** since {moment(status.quiesced_at, zone)}: "
                    "no entry is on its way to the broker.")  # fmt: skip
        return
    st.markdown(f":material/hourglass_top: **Draining:** {count(len(status.entries_in_flight), 'entry')} "
                "sent before the pause, not settled yet.")  # fmt: skip
    for permit in status.entries_in_flight:
        st.markdown(f"- {permit.symbol or 'another owner’s order'}: {permit.state}, settled or looked up at the broker "
                    f"by {moment(permit.permit_deadline, zone)} (`{permit.order_id}`)")  # fmt: skip


def control_form(reading: Reading, target: Target) -> None:
    """Ask for a reason and offer pause and resume of one scope; each click is one request, sent at most once."""
    status = reading.status
    mode = target.mode(status) if status else None
    if status and target.scope != "global":
        stricter = f" All trading is {status.mode}, which holds for it too." if status.mode != "RUNNING" else ""
        note(f"{target.name} is set to {mode}.{stricter}")
    with st.form("control", enter_to_submit=False):
        st.text_area("Reason (required)", key=REASON_KEY, max_chars=REASON_MAX, height=80,
                     placeholder="Why, in a few words. It is kept with your name.")  # fmt: skip
        pause, resume = st.columns(2, gap="medium")
        with pause:
            _pause_fields(target, status.version if status else None, is_paused=mode == "PAUSED")
        with resume:
            resume_fields(target, target.control(status) if status else None)
    st.info("Pausing blocks new entries only. Existing positions continue to be managed: stops, targets, exits, "
            "reconciliation and order sync go on.", icon=":material/info:")  # fmt: skip


def _pause_fields(target: Target, version: int | None, *, is_paused: bool) -> None:
    st.selectbox("Kind of reason for a pause", list(KINDS), format_func=KINDS.__getitem__, key=_KIND_KEY)
    st.datetime_input(f"Resume at ({_zone_name()}, optional)", value=None, key=_RESUME_AT_KEY, step=60,
                      help="Trading resumes by itself then, if the pre-flight list is met. Empty: until somebody "
                           "resumes.")  # fmt: skip
    st.checkbox("Cancel entries that wait or rest at the broker", value=True, key=_CANCEL_KEY,
                help="Otherwise they stay where they are; what rests at the broker can still fill. Stops, targets and "
                     "exits are never cancelled by a pause.")  # fmt: skip
    st.form_submit_button(
        "Pause auto-trading", icon=":material/pause_circle:", type="primary", on_click=_pause, args=(target, version),
        disabled=is_paused, key="control_pause", help="No new positions. Open positions continue to be managed.",
    )  # fmt: skip


def _pause(target: Target, version: int | None) -> None:
    reason = str(st.session_state[REASON_KEY]).strip()
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    resume_at: datetime | None = st.session_state[_RESUME_AT_KEY]
    kind = str(st.session_state[_KIND_KEY])
    cancel = bool(st.session_state[_CANCEL_KEY])
    # No expected version: whatever happened meanwhile, to pause is what the person wants.
    error = act(
        lambda client, id_: pause_trading(
            client, reason=reason, reason_code=kind, request_id=id_,
            scope=target.scope, scope_key=target.key,  # type: ignore[arg-type]
            resume_at=resume_at.replace(tzinfo=chosen_zone()) if resume_at else None, cancel_entries=cancel,
        ),
        lambda answer: answer_words(answer, "PAUSED", target.name),
        content=("pause", target, version, kind, reason, resume_at, cancel),
    )  # fmt: skip
    if error is None:
        st.session_state[REASON_KEY], st.session_state[_RESUME_AT_KEY] = "", None


def _staged(stage: Stage) -> str:
    how = f"run at {share(float(stage.fraction))} of their size" if stage.fraction else "need approval"
    return f"the next {count(stage.entries_left, 'entry')} {how}."


def _zone_name() -> str:
    return chosen_zone().key.rsplit("/", maxsplit=1)[-1].replace("_", " ")
