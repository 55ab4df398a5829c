"""The card that says whether a person has to approve paper orders, and the way to change it."""

from typing import Any

import streamlit as st

from db.commands import approval_config, update_approval_config
from pages.components.actions import act
from pages.components.formats import count, money
from pages.components.messages import note, tell
from pages.session.guard import Session
from pages.session.status import known_role

AUTO, ASK = "Auto-approve paper orders", "Require approval for paper orders"
_ASKED_KEY = "_switch_asked"
_REASON_KEY = "switch_reason"
_MEANS = {
    True: "Paper entries that pass the gate are sent at once. Nobody is asked.",
    False: "Paper entries that pass the gate wait here until an operator or admin approves them.",
}


def approval_switch(session: Session) -> None:
    """Show how paper orders are treated; admins may change it, after a confirmation."""
    held = approval_config(session.client)
    auto = bool(held["auto_approve_paper"])
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="approval_switch"):
        with st.container(width="stretch"):
            st.markdown(f":material/{'bolt' if auto else 'approval'}: **{AUTO if auto else ASK}**")
            note(f"{_MEANS[auto]} {_other_rules(held)}")
        if known_role() == "admin":
            st.button("Require approval instead" if auto else "Auto-approve instead", icon=":material/swap_horiz:",
                      key="switch_paper", on_click=_ask)  # fmt: skip
        else:
            st.caption("An admin can change this.", width="content")
    if st.session_state.get(_ASKED_KEY):
        _confirm(held, auto)


@st.dialog("Change how paper orders are treated?", icon=":material/swap_horiz:", on_dismiss=lambda: _close())
def _confirm(held: dict[str, Any], auto: bool) -> None:
    """Ask once more. What the click does is in the callback; the dialog only closes itself after it."""
    if not st.session_state.get(_ASKED_KEY):
        st.rerun()
    st.markdown(f"From the next entry on: **{ASK if auto else AUTO}**. {_MEANS[not auto]}")
    if not auto:
        st.markdown("Entries that wait already still need their decision.")
    st.text_input("Why", key=_REASON_KEY, max_chars=500, placeholder="It is kept with your name.")
    with st.container(horizontal=True):
        st.button(
            "Yes, change it", type="primary", key="switch_confirm", on_click=_switch, args=(held["version"], not auto)
        )
        st.button("Leave it", key="switch_cancel", on_click=_close)


def _other_rules(held: dict[str, Any]) -> str:
    """Return the other cases in which a person is asked, and how long one has."""
    cases = {
        "live orders": held["require_approval_for_live"],
        f"sizes from {money(float(held['notional_above_usd'] or 0))} up": held["notional_above_usd"],
        "the first trade in a symbol": held["first_trade_in_symbol"],
        "entries while the market is closed": held["off_hours"],
        f"entries after {count(int(held['after_loss_streak'] or 0), 'loss')}": held["after_loss_streak"],
    }
    asked = ", ".join(name for name, applies in cases.items() if applies) or "nothing else"
    eyes = " The owner of a profile cannot approve its entries." if held["four_eyes"] else ""
    minutes = count(int(held["approval_timeout_minutes"]), "minute")
    return f"Approval is always needed for: {asked}. After {minutes} without a decision an entry is given up.{eyes}"


def _ask() -> None:
    st.session_state[_ASKED_KEY] = True


def _close() -> None:
    st.session_state.pop(_ASKED_KEY, None)


def _switch(version: int, auto: bool) -> None:
    reason = str(st.session_state.get(_REASON_KEY) or "").strip()
    _close()
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    act(
        lambda client, id_: update_approval_config(
            client, patch={"auto_approve_paper": auto}, reason=reason, expected_version=version, request_id=id_
        ),
        lambda _: f"Done: {AUTO if auto else ASK}, from the next entry on.",
        content=("switch", version, auto, reason),
    )
