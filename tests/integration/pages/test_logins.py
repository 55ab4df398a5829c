"""Logins against the real sign-in service: refreshed in time, once, and ended for good."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from db.auth import WrongCredentials, refresh
from db.client import auth_client
from db.errors import NotSignedIn, Unreachable
from pages.session.clock import now
from pages.session.logins import current_login, end_session, open_session, sessions
from pages.session.settings import settings
from tests.support.clients import SignIn

pytestmark = pytest.mark.usefixtures("installation")


def opened(sign_in: SignIn) -> str:
    return open_session(sign_in.email("alice"), sign_in.password("alice"), now())


def let_it_run_out(session_id: str) -> None:
    """Make the stored access token look as if it ended in a moment."""
    login = sessions().get(session_id, now())
    assert login
    sessions().replace(session_id, replace(login, expires_at=int(now().timestamp()) + 5))


def test_token_is_kept_while_it_is_good(sign_in: SignIn) -> None:
    session_id = opened(sign_in)

    first, second = current_login(session_id, now()), current_login(session_id, now())

    assert first and first == second
    assert first.email == "alice@interlock.local"


def test_token_is_refreshed_once_when_many_tabs_ask_at_the_same_time(sign_in: SignIn) -> None:
    session_id = opened(sign_in)
    used_up = sessions().get(session_id, now())
    let_it_run_out(session_id)

    with ThreadPoolExecutor(8) as tabs:
        logins = list(tabs.map(lambda _: current_login(session_id, now()), range(8)))

    assert len({login.refresh_token for login in logins if login}) == 1
    assert None not in logins
    assert used_up and logins[0] and logins[0].refresh_token != used_up.refresh_token


def test_session_ends_when_its_refresh_token_was_revoked(sign_in: SignIn) -> None:
    session_id = opened(sign_in)
    login = sessions().get(session_id, now())
    assert login
    sessions().replace(session_id, replace(login, refresh_token="revoked", expires_at=int(now().timestamp())))

    assert current_login(session_id, now()) is None
    assert sessions().get(session_id, now()) is None


def test_signing_out_revokes_the_refresh_token_too(sign_in: SignIn, env: dict[str, str]) -> None:
    session_id = opened(sign_in)
    login = sessions().get(session_id, now())
    assert login

    end_session(session_id, now())

    assert current_login(session_id, now()) is None
    with pytest.raises(NotSignedIn):
        refresh(auth_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"]), refresh_token=login.refresh_token)


def test_wrong_password_opens_nothing(sign_in: SignIn) -> None:
    with pytest.raises(WrongCredentials):
        open_session(sign_in.email("alice"), "not the password", now())


def test_token_that_still_works_is_used_when_the_service_is_away(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = opened(sign_in)
    let_it_run_out(session_id)
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    settings.cache_clear()

    assert current_login(session_id, now()) is not None
    with pytest.raises(Unreachable):
        current_login(session_id, now() + timedelta(seconds=10))
