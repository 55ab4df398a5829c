"""Logins of this process: opened by a password, kept fresh, ended by sign-out."""

from datetime import datetime
from functools import cache

from db.auth import Login, refresh, sign_in, sign_out
from db.client import Client, auth_client
from db.errors import NotSignedIn, Unreachable
from pages.session.settings import settings
from pages.session.store import SessionStore

COOKIE = "interlock_session"
REFRESH_BEFORE_S = 120


@cache
def sessions() -> SessionStore:
    """Return this process's session store."""
    return SessionStore(settings().home / "sessions.sqlite")


def open_session(email: str, password: str, now: datetime) -> str:
    """Sign a person in and return the opaque id for the cookie.

    Raises
    ------
    db.auth.WrongCredentials, db.auth.TooManyAttempts, Unreachable
    """
    return sessions().create(sign_in(_auth(), email=email, password=password), now)


def current_login(session_id: str, now: datetime) -> Login | None:
    """Return the login behind an id with a token that is good for a while yet; None when it ended."""
    login = sessions().get(session_id, now)
    if login is None or not _runs_out(login, now):
        return login
    with sessions().lock(session_id):
        login = sessions().get(session_id, now)  # another tab may have refreshed it meanwhile
        return _refreshed(session_id, login, now) if login and _runs_out(login, now) else login


def end_session(session_id: str, now: datetime) -> None:
    """Sign out: forget the session here and revoke it at the sign-in service."""
    login = sessions().get(session_id, now)
    sessions().delete(session_id)
    if login is None:
        return
    try:
        sign_out(_auth(), access_token=login.access_token)
    except (NotSignedIn, Unreachable):
        # Forgotten here, nobody holds the tokens any more; they run out by themselves.
        return


def _refreshed(session_id: str, login: Login, now: datetime) -> Login | None:
    try:
        fresh = refresh(_auth(), refresh_token=login.refresh_token)
    except NotSignedIn:
        sessions().delete(session_id)
        return None
    except Unreachable:
        if login.expires_at > now.timestamp():
            return login
        raise
    sessions().replace(session_id, fresh)
    return fresh


def _runs_out(login: Login, now: datetime) -> bool:
    return login.expires_at - now.timestamp() < REFRESH_BEFORE_S


def _auth() -> Client:
    return auth_client(settings().supabase_url, settings().publishable_key)
