"""JSON in and out of the auth endpoints, in the shapes that supabase-py parses."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from aiohttp import web

from local.auth.errors import AuthError, invalid
from local.auth.store import User

EMAIL = re.compile(r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
EMAIL_LENGTH_MAX = 255
_DURATION = re.compile(r"^(\d{1,7})(h|m|s)$")
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}


def user_json(user: User) -> dict[str, Any]:
    """Return an account as GoTrue shows it; never its password hash."""
    times = {name: _iso(user[name]) for name in ("created_at", "updated_at", "last_sign_in_at")}
    return {
        "id": str(user["id"]),
        "aud": user["aud"],
        "role": user["role"],
        "email": user["email"],
        "phone": "",
        "email_confirmed_at": _iso(user["email_confirmed_at"]),
        "confirmed_at": _iso(user["email_confirmed_at"]),
        "app_metadata": user["raw_app_meta_data"],
        "user_metadata": user["raw_user_meta_data"],
        "banned_until": _iso(user["banned_until"]),
        "identities": [_identity(user, times)],
        "is_anonymous": False,
        **times,
    }


async def json_object(request: web.Request) -> dict[str, Any]:
    """Return the request's body.

    Raises
    ------
    AuthError when it is no JSON object
    """
    try:
        body = json.loads(await request.text() or "{}")
    except (ValueError, LookupError) as e:
        raise AuthError(400, "bad_json", "Could not parse request body as JSON") from e
    if not isinstance(body, dict):
        raise AuthError(400, "bad_json", "The request body must be a JSON object")
    return body


def text_field(body: dict[str, Any], name: str) -> str:
    """Return a field that must be text without control bytes that the database refuses."""
    value = body.get(name)
    if not isinstance(value, str) or not value or "\x00" in value:
        raise invalid(f"{name} is required and must be text")
    return value


def email_field(body: dict[str, Any]) -> str:
    """Return the field `email`, if it looks like an address."""
    email = text_field(body, "email")
    if len(email) > EMAIL_LENGTH_MAX or not EMAIL.match(email):
        raise invalid("Unable to validate email address: invalid format")
    return email.lower()


def object_field(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a field that is an object, or empty when it is missing."""
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise invalid(f"{name} must be an object")
    return value


def banned_until(duration: object, *, now: datetime) -> datetime | None:
    """Return until when an account is suspended, from "none" or from a duration such as "24h"."""
    if duration == "none":
        return None
    match = _DURATION.match(duration) if isinstance(duration, str) else None
    if not match:
        raise invalid('ban_duration must be "none" or a duration such as "24h"')
    return now + timedelta(**{_UNITS[match[2]]: int(match[1])})


def _identity(user: User, times: dict[str, str | None]) -> dict[str, Any]:
    return {
        "identity_id": str(uuid5(NAMESPACE_URL, f"identity:{user['id']}")),
        "id": str(user["id"]),
        "user_id": str(user["id"]),
        "provider": "email",
        "email": user["email"],
        "identity_data": {
            "sub": str(user["id"]),
            "email": user["email"],
            "email_verified": True,
            "phone_verified": False,
        },
        **times,
    }


def _iso(moment: datetime | None) -> str | None:
    """Return ISO 8601 with the whole offset, `+00:00`: supabase-py does not parse Postgres's `+00`."""
    return moment.astimezone(UTC).isoformat() if moment else None


def as_uuid(text: str) -> UUID:
    """Return the id of a path.

    Raises
    ------
    AuthError 404 when it is none
    """
    try:
        return UUID(text)
    except ValueError as e:
        raise AuthError(404, "validation_failed", "user_id must be an UUID") from e
