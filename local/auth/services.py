"""What the endpoints share: one object, made at start, found in the application."""

import hmac
from dataclasses import dataclass

from aiohttp import web

from local.auth.errors import AuthError
from local.auth.passwords import Passwords
from local.auth.settings import FAILURE_WINDOW_S, FAILURES_PER_ACCOUNT, FAILURES_PER_ADDRESS, Settings
from local.auth.store import Pool, Sessions, Users
from local.auth.throttle import Throttle
from local.auth.tokens import AccessTokens, Caller, RefreshTokens


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that endpoints work with."""

    settings: Settings
    users: Users
    sessions: Sessions
    access: AccessTokens
    refresh: RefreshTokens
    passwords: Passwords
    per_account: Throttle
    per_address: Throttle

    @classmethod
    def wired(cls, settings: Settings, pool: Pool) -> "Services":
        """Put the parts together."""
        return cls(
            settings=settings,
            users=Users(pool),
            sessions=Sessions(pool),
            access=AccessTokens(settings.jwt_secret, issuer=f"{settings.url}/auth/v1"),
            refresh=RefreshTokens(settings.refresh_secret),
            passwords=Passwords(),
            per_account=Throttle(failures_max=FAILURES_PER_ACCOUNT, window_s=FAILURE_WINDOW_S),
            per_address=Throttle(failures_max=FAILURES_PER_ADDRESS, window_s=FAILURE_WINDOW_S),
        )


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def api_key_role(settings: Settings, key: str | None) -> str | None:
    """Return the database role that an API key stands for, or None for a wrong or missing key."""
    shown = (key or "").encode(errors="surrogateescape")  # a header may hold any bytes
    if hmac.compare_digest(shown, settings.publishable_key.encode()):
        return "anon"
    if hmac.compare_digest(shown, settings.secret_key.encode()):
        return "service_role"
    return None


def bearer(request: web.Request) -> str | None:
    """Return the bearer token, if there is one."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def caller(request: web.Request) -> Caller:
    """Return whom the request's token speaks for.

    Raises
    ------
    AuthError when there is none, or it is not valid
    """
    token = bearer(request)
    if token is None:
        raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
    return request.app[SERVICES].access.verify(token)


def require_secret_key(request: web.Request) -> None:
    """Let only the secret key pass; a user's token beside it makes the request the user's."""
    settings = request.app[SERVICES].settings
    if api_key_role(settings, request.headers.get("apikey")) != "service_role":
        raise AuthError(403, "not_admin", "User not allowed")
    token = bearer(request)
    if token is not None and api_key_role(settings, token) != "service_role":
        raise AuthError(403, "not_admin", "User not allowed")
