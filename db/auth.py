"""Signing people in and out through Supabase's auth, with the library's errors told apart.

An access token is good for about an hour, a refresh token for one use: the answer to a refresh
carries the next one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx
from supabase import Client
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError
from supabase_auth.types import AuthResponse

from db.errors import AuthorityError, NotSignedIn, Unreachable


class WrongCredentials(NotSignedIn):
    """The e-mail address or the password is not right; which of the two is not said."""


class TooManyAttempts(AuthorityError):
    """Sign-in is throttled; the user waits."""


@dataclass(frozen=True)
class Login:
    """A signed-in person's tokens. `expires_at`: when the access token ends, epoch seconds."""

    user_id: UUID
    email: str
    access_token: str
    refresh_token: str
    expires_at: int


def sign_in(client: Client, *, email: str, password: str) -> Login:
    """Return the tokens of the person with this e-mail address and password.

    Raises
    ------
    WrongCredentials, TooManyAttempts, Unreachable
    """
    with _translated():
        return _login(client.auth.sign_in_with_password({"email": email, "password": password}))


def refresh(client: Client, *, refresh_token: str) -> Login:
    """Exchange a refresh token for new tokens; the old one is used up.

    Raises
    ------
    NotSignedIn when the token was used, revoked or is too old; Unreachable
    """
    with _translated():
        return _login(client.auth.refresh_session(refresh_token))


def sign_out(client: Client, *, access_token: str) -> None:
    """Revoke the session that a token belongs to, so that its refresh token is worthless."""
    with _translated():
        client.auth.admin.sign_out(access_token, "local")


def _login(response: AuthResponse) -> Login:
    session = response.session
    if session is None or session.expires_at is None:
        raise Unreachable("The sign-in service answered without a session.", code="NO_SESSION")
    return Login(
        user_id=UUID(session.user.id),
        email=session.user.email or "",
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        expires_at=session.expires_at,
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except AuthRetryableError as e:
        raise _unreachable(e) from e
    except AuthApiError as e:
        raise _refused(e) from e
    except AuthError as e:
        raise NotSignedIn("Sign in again.", code="NOT_SIGNED_IN") from e
    except httpx.HTTPError as e:
        raise _unreachable(e) from e


def _refused(e: AuthApiError) -> AuthorityError:
    if e.status == 429:
        return TooManyAttempts("Too many attempts. Wait a minute, then try again.", code="THROTTLED")
    if e.code == "invalid_credentials":
        return WrongCredentials("The e-mail address or the password is not right.", code=e.code)
    if e.status >= 500:
        return _unreachable(e)
    return NotSignedIn("The session has ended. Sign in again.", code=str(e.code or e.status))


def _unreachable(e: Exception) -> Unreachable:
    return Unreachable(
        f"The sign-in service cannot be reached ({type(e).__name__}).",
        code="UNREACHABLE",
        hint="Check that the gateway is running, then try again.",
    )
