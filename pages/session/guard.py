"""The guard: who is signed in on this page. Row-level security in the database is the real lock."""

from dataclasses import dataclass
from typing import NoReturn

import streamlit as st

from db.auth import Login
from db.client import Client, renew_token, sign_in_client
from db.errors import Forbidden, NotSignedIn
from pages.session.clock import now
from pages.session.logins import COOKIE, current_login, end_session
from pages.session.settings import settings
from pages.session.status import known_role, read_status

_KEY = "_session"
_GO_TO_SIGN_IN = """
<p>You are signed out. <a href="/auth/login" target="_self">Sign in</a> to go on.</p>
<script>
  window.parent.location.replace(
    "/auth/login?next=" + encodeURIComponent(window.parent.location.pathname + window.parent.location.search));
</script>
"""


@dataclass
class Session:
    """A signed-in person in one tab, and the client that acts with that person's rights."""

    email: str
    access_token: str
    client: Client


def require_session(*roles: str) -> Session:
    """Return the session of whoever is looking; without one, send to sign-in and end the run.

    Raises
    ------
    Forbidden when the person has none of the roles that are asked for; Unreachable
    """
    try:
        session = current_session()
    except NotSignedIn:
        send_to_sign_in()
    if roles:
        read_status(session.client)
        if known_role() not in roles:
            raise Forbidden(f"This page is for the role {' or '.join(roles)}.", code="FORBIDDEN", hint="Ask an admin.")
    return session


def current_session() -> Session:
    """Return the session of whoever is looking, with a token that is good now; for callbacks too.

    A tab may have slept for hours before a click: what a page held when it was drawn may be too old.

    Raises
    ------
    NotSignedIn, Unreachable
    """
    session_id = st.context.cookies.get(COOKIE)
    login = current_login(session_id, now()) if session_id else None
    if login is None:
        raise NotSignedIn("You are signed out.", code="NOT_SIGNED_IN", hint="Sign in again.")
    return _session_for(login)


def sign_out() -> None:
    """End the session on the server; the run that follows goes to sign-in."""
    if session_id := st.context.cookies.get(COOKIE):
        end_session(session_id, now())
    st.session_state.pop(_KEY, None)


def send_to_sign_in() -> NoReturn:
    """Lead the browser to the sign-in page and end this run."""
    st.session_state.pop(_KEY, None)
    st.html(_GO_TO_SIGN_IN, unsafe_allow_javascript=True)
    st.stop()


def token_was_refused(error: NotSignedIn) -> NoReturn:
    """Deal with a token that the database no longer takes: forget the session, ask to sign in."""
    del error  # what was refused is of no use to the person
    sign_out()
    send_to_sign_in()


def _session_for(login: Login) -> Session:
    """Return the tab's session. A fresh token goes into the client at hand, whoever holds it."""
    held: Session | None = st.session_state.get(_KEY)
    if held is None or held.email != login.email:
        client = sign_in_client(settings().supabase_url, settings().publishable_key, login.access_token)
        held = st.session_state[_KEY] = Session(login.email, login.access_token, client)
    elif held.access_token != login.access_token:
        renew_token(held.client, login.access_token)
        held.access_token = login.access_token
    return held
