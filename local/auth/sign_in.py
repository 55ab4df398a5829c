"""Signing in, staying signed in, and signing out."""

import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from local.auth.errors import AuthError, banned, invalid_credentials
from local.auth.services import SERVICES, Services, caller
from local.auth.settings import ACCESS_TOKEN_LIFETIME
from local.auth.shapes import json_object, text_field, user_json
from local.auth.store import Rotation, User

routes = web.RouteTableDef()


@routes.post("/auth/v1/token")
async def token(request: web.Request) -> web.Response:
    """Exchange a password or a refresh token for a session."""
    grant = {"password": _by_password, "refresh_token": _by_refresh_token}.get(request.query.get("grant_type", ""))
    if grant is None:
        raise AuthError(400, "validation_failed", "unsupported_grant_type")
    return web.json_response(await grant(request), headers={"Cache-Control": "no-store"})


@routes.get("/auth/v1/user")
async def user(request: web.Request) -> web.Response:
    """Answer who is signed in, as long as the sign-in was not ended."""
    services = request.app[SERVICES]
    who = caller(request)
    found = await services.users.by_id(who.user_id)
    if found is None:
        raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
    if not await services.sessions.exists(who.session_id):
        raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
    return web.json_response(user_json(found))


@routes.post("/auth/v1/logout")
async def logout(request: web.Request) -> web.Response:
    """End this session, the user's others, or all."""
    scope = request.query.get("scope", "global")
    if scope not in {"global", "local", "others"}:
        raise AuthError(400, "validation_failed", f"Unsupported logout scope {scope[:20]!r}")
    who = caller(request)
    await request.app[SERVICES].sessions.end(user_id=who.user_id, session_id=who.session_id, scope=scope)
    return web.Response(status=204)


async def _by_password(request: web.Request) -> dict[str, Any]:
    services = request.app[SERVICES]
    body = await json_object(request)
    email, password = text_field(body, "email").lower(), text_field(body, "password")
    found = await _verified(services, email, password, address=request.remote or "")
    session = await services.sessions.begin(found["id"])
    # Read again: it now says when the user last signed in.
    return _session_json(services, await services.users.by_id(found["id"]) or found, session)


async def _verified(services: Services, email: str, password: str, *, address: str) -> User:
    """Return the account whose password this is, and count the attempt otherwise."""
    now_s = time.monotonic()
    services.per_address.begin(address, now_s=now_s)
    services.per_account.begin(email, now_s=now_s)
    found = await services.users.by_email(email)
    if not await services.passwords.verify(password, found["encrypted_password"] if found else None):
        raise invalid_credentials()
    assert found is not None  # verify() is false without an account
    services.per_address.succeed(address)
    services.per_account.succeed(email)
    if found["banned_until"] and found["banned_until"] > datetime.now(UTC):
        raise banned()
    return found


async def _by_refresh_token(request: web.Request) -> dict[str, Any]:
    services = request.app[SERVICES]
    shown = services.refresh.read(text_field(await json_object(request), "refresh_token"))
    if shown is None:
        raise _not_found()
    outcome, session = await services.sessions.rotate(*shown)
    if outcome is Rotation.UNKNOWN:
        raise _not_found()
    if outcome is Rotation.REUSED:
        raise AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
    if outcome is Rotation.BANNED:
        raise banned()
    found = await services.users.by_id(session["user_id"])
    if found is None:
        raise _not_found()
    return _session_json(services, found, session)


def _session_json(services: Services, found: User, session: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    lifetime_s = int(ACCESS_TOKEN_LIFETIME.total_seconds())
    access = services.access.for_user(found, session["id"], signed_in_at=session["created_at"], now=now)
    return {
        "access_token": access,
        "token_type": "bearer",
        "expires_in": lifetime_s,
        "expires_at": int(now.timestamp()) + lifetime_s,
        "refresh_token": services.refresh.make(session["id"], session["refresh_token_counter"]),
        "user": user_json(found),
    }


def _not_found() -> AuthError:
    return AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
