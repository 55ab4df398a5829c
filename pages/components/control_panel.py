"""The control panel: what mode trading is in, and how to change it."""

from collections.abc import Callable
from uuid import UUID
from zoneinfo import ZoneInfo

import streamlit as st

from db.client import Client
from db.commands import pause_trading, resume_trading
from db.errors import AuthorityError, Unreachable
from db.models import ControlAnswer, TradingStatus
from pages.components.badge import mode_words
from pages.components.formats import age, count, moment
from pages.components.messages import describe, note, tell, tell_answer
from pages.components.request_ids import request_ids
from pages.session.guard import current_session
from pages.session.status import Reading, forget_reading

REASON_MAX = 500
_REASON_KEY = "control_reason"
_CANCEL_KEY = "control_cancel_entries"

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
    note(
        f"{mode_words(status)}. Set by {status.lastChangedBy} {age(status.checked_at - status.changed_at)} ago "
        f"({moment(status.changed_at, zone)}).{reason}"
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


def control_form(reading: Reading) -> None:
    """Ask for a reason and offer pause and resume; each click is one request, sent at most once."""
    status, ids = reading.status, request_ids(reading)
    with st.form("control", enter_to_submit=False):
        st.text_area("Reason (required)", key=_REASON_KEY, max_chars=REASON_MAX, height=80,
                     placeholder="Why, in a few words. It is kept with your name.")  # fmt: skip
        st.checkbox("When pausing, also cancel entry orders that rest at the broker", value=True, key=_CANCEL_KEY,
                    help="Stops, targets and exits are never cancelled by a pause.")  # fmt: skip
        with st.container(horizontal=True):
            st.form_submit_button(
                "Pause auto-trading", icon=":material/pause_circle:", type="primary", on_click=_pause,
                args=(ids.pause,), disabled=status is not None and status.mode == "PAUSED", key="control_pause",
                help="No new positions. Open positions continue to be managed.",
            )  # fmt: skip
            st.form_submit_button(
                "Resume auto-trading", icon=":material/play_circle:", on_click=_resume, args=(ids.resume, ids.version),
                disabled=status is None or status.mode == "RUNNING", key="control_resume",
                help="Entries may flow again.",
            )  # fmt: skip
    st.info("Pausing blocks new entries only. Existing positions continue to be managed: stops, targets, exits, "
            "reconciliation and order sync go on.", icon=":material/info:")  # fmt: skip


def _pause(request_id: UUID) -> None:
    # No expected version: whatever happened meanwhile, to pause is what the person wants.
    _send(lambda client, reason: pause_trading(
        client, reason=reason, request_id=request_id, cancel_entries=bool(st.session_state[_CANCEL_KEY]),
    ))  # fmt: skip


def _resume(request_id: UUID, version: int | None) -> None:
    _send(lambda client, reason: resume_trading(
        client, reason=reason, request_id=request_id, expected_version=version,
    ))  # fmt: skip


def _send(request: Callable[[Client, str], ControlAnswer]) -> None:
    """Send one request with the reason that was typed, and keep what came of it for the next run."""
    reason = str(st.session_state[_REASON_KEY]).strip()
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    try:
        tell_answer(request(current_session().client, reason))
        st.session_state[_REASON_KEY] = ""
    except Unreachable as e:
        tell(f"**No answer: it is not known whether trading was changed.** {describe(e)}", failed=True)
    except AuthorityError as e:
        tell(f"**Nothing was changed.** {describe(e)}", failed=True)
    finally:
        forget_reading()
