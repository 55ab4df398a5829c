"""The header of every page: market marker, mode badge, engine, PAUSE for admins, who is signed in."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from db.commands import pause_trading
from db.errors import AuthorityError, NotSignedIn
from pages.components.actions import act
from pages.components.badge import STYLE, TICK_S, Surroundings, badge_html
from pages.components.messages import answer_words, facts_html, note
from pages.components.shortcuts import shortcut_list, shortcuts
from pages.components.time_zone import chosen_zone, time_zone_picker
from pages.session.clock import now
from pages.session.guard import Session, require_session, sign_out, token_was_refused
from pages.session.profiles import read_profiles
from pages.session.status import Reading, known_role, read_status

_SHOWN_KEY = "_header_shown"
_AROUND_KEY = "_header_surroundings"
QUICK_REASON = "Paused from the header"


def header(session: Session, pages: Sequence[st.Page]) -> None:
    """Show the header. The badge renews itself; PAUSE lies outside it, so that no slow page delays a click.

    `pages`: those that the menu offers, which keys lead to as well.
    """
    reading = read_status(session.client)
    st.session_state[_SHOWN_KEY] = _signature(reading)
    st.session_state[_AROUND_KEY] = _surroundings(session)
    is_admin = known_role() == "admin"
    st.html(STYLE)
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        badge_place = st.container(width="stretch")
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            if is_admin:
                _pause_button(reading)
            _user_menu(session, pages)
    with badge_place:  # filled last: it shows times in the zone that the menu has just read from the address
        _badge()
    shortcuts(pages, partial(_pause_now, _version(reading)) if is_admin and not _is_stopped(reading) else None)


@st.fragment(run_every=TICK_S)
def _badge() -> None:
    """Show the badge, and run the whole page again once the mode has changed under it."""
    reading = _read_again()
    st.html(badge_html(reading, st.session_state[_AROUND_KEY], chosen_zone()))
    if reading.status and _signature(reading) != st.session_state[_SHOWN_KEY]:
        st.rerun()


def _read_again() -> Reading:
    try:
        return read_status(require_session().client)
    except NotSignedIn as e:
        token_was_refused(e)
    except AuthorityError as e:
        return Reading(None, e, now())


def _pause_button(reading: Reading) -> None:
    stopped = _is_stopped(reading)
    st.button(
        "PAUSE",
        key="header_pause",
        icon=":material/pause_circle:",
        disabled=stopped,
        on_click=_pause_now,
        args=(_version(reading),),
        help="Already stopped. Resume on the Control page."
        if stopped
        else "Stops new entries at once, for all profiles. Open positions keep their stops and can still be closed.",
    )


def _pause_now(version: int | None) -> None:
    act(
        lambda client, id_: pause_trading(client, reason=QUICK_REASON, reason_code="quick_pause", request_id=id_),
        lambda answer: answer_words(answer, "PAUSED", "all trading"),
        content=("quick_pause", version),
    )


def _is_stopped(reading: Reading) -> bool:
    return reading.status is not None and reading.status.mode != "RUNNING"


def _version(reading: Reading) -> int | None:
    return reading.status.version if reading.status else None


def _user_menu(session: Session, pages: Sequence[st.Page]) -> None:
    with st.popover(session.email, icon=":material/account_circle:", key="user_menu"):
        note(f"Signed in as {session.email}, {known_role()}")
        time_zone_picker()
        with st.expander("Keyboard", icon=":material/keyboard:", key="keyboard"):
            st.html(facts_html(shortcut_list([page.title for page in pages], may_pause=known_role() == "admin")))
        st.button("Sign out", icon=":material/logout:", on_click=sign_out, width="stretch", key="sign_out")


def _surroundings(session: Session) -> Surroundings:
    """Return what the profiles trade with, PAPER, LIVE, or both, and their names; UNKNOWN when it cannot be read."""
    try:
        found = read_profiles(session)
    except AuthorityError:
        return Surroundings()
    modes = set(found.loc[found["active"], "trading_mode"]) & {"live", "paper"}
    market = " + ".join(sorted(mode.upper() for mode in modes)) or "NO ACTIVE PROFILE"
    return Surroundings(market, dict(zip(found["id"], found["name"], strict=True)))


def _signature(reading: Reading) -> tuple[object, ...] | None:
    """Return what, once different, makes everything on the page out of date."""
    status = reading.status
    if status is None:
        return None
    scopes = tuple((scope.scope, scope.scope_key, scope.version) for scope in status.scopes)
    return status.version, status.mode, status.phase, len(status.entries_in_flight), scopes
