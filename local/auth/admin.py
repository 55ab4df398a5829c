"""Managing accounts, with the secret key."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from local.auth.errors import AuthError, invalid
from local.auth.services import SERVICES, require_secret_key
from local.auth.shapes import as_uuid, banned_until, email_field, json_object, object_field, text_field, user_json
from local.auth.store import User

PAGE_SIZE_MAX = 1000
SUPPORTED = {"email", "password", "email_confirm", "user_metadata", "app_metadata", "ban_duration"}

routes = web.RouteTableDef()


@routes.post("/auth/v1/admin/users")
async def create(request: web.Request) -> web.Response:
    """Create an account."""
    require_secret_key(request)
    services = request.app[SERVICES]
    body = await _attributes(request)
    created = await services.users.add(
        email=email_field(body),
        password_hash=await services.passwords.hash(text_field(body, "password")),
        user_metadata=object_field(body, "user_metadata"),
        app_metadata=object_field(body, "app_metadata"),
    )
    if created is None:
        raise _taken()
    return web.json_response(user_json(created))


@routes.get("/auth/v1/admin/users")
async def list_page(request: web.Request) -> web.Response:
    """List accounts, a page at a time."""
    require_secret_key(request)
    number, size = _positive(request, "page", 1), min(_positive(request, "per_page", 50), PAGE_SIZE_MAX)
    users, total = await request.app[SERVICES].users.page(number=number, size=size)
    body = {"users": [user_json(user) for user in users], "aud": "authenticated"}
    return web.json_response(body, headers={"X-Total-Count": str(total)})


@routes.get("/auth/v1/admin/users/{id}")
async def read(request: web.Request) -> web.Response:
    """Show one account."""
    require_secret_key(request)
    found = await request.app[SERVICES].users.by_id(as_uuid(request.match_info["id"]))
    return web.json_response(user_json(_existing(found)))


@routes.put("/auth/v1/admin/users/{id}")
async def update(request: web.Request) -> web.Response:
    """Change an account: address, password, metadata, suspension."""
    require_secret_key(request)
    services = request.app[SERVICES]
    user_id = as_uuid(request.match_info["id"])
    body = await _attributes(request)
    found = _existing(await services.users.by_id(user_id))
    changes: dict[str, Any] = {}
    if "email" in body:
        changes["email"] = email_field(body)
    if "password" in body:
        changes["encrypted_password"] = await services.passwords.hash(text_field(body, "password"))
    if "ban_duration" in body:
        changes["banned_until"] = banned_until(body["ban_duration"], now=datetime.now(UTC))
    for name, column in (("user_metadata", "raw_user_meta_data"), ("app_metadata", "raw_app_meta_data")):
        if name in body:
            changes[column] = found[column] | object_field(body, name)
    try:
        changed = await services.users.change(user_id, **changes)
    except UniqueViolation as e:
        raise _taken() from e
    return web.json_response(user_json(_existing(changed)))


@routes.delete("/auth/v1/admin/users/{id}")
async def delete(request: web.Request) -> web.Response:
    """Delete an account with its sessions."""
    require_secret_key(request)
    try:
        removed = await request.app[SERVICES].users.remove(as_uuid(request.match_info["id"]))
    except ForeignKeyViolation as e:
        raise AuthError(409, "conflict", "The account still owns rows. Remove those first, or suspend it.") from e
    if not removed:
        raise _missing()
    return web.json_response({})


async def _attributes(request: web.Request) -> dict[str, Any]:
    """Return the attributes to set; refuse those that this gateway would have to ignore."""
    body = await json_object(request)
    unknown = sorted(name for name in body.keys() - SUPPORTED if body[name] is not None)
    if unknown:
        raise invalid(f"Not supported here: {', '.join(unknown)[:200]}")
    return body


def _positive(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 1_000_000:
        raise AuthError(400, "validation_failed", f"{name} must be a positive number")
    return int(text)


def _existing(user: User | None) -> User:
    if user is None:
        raise _missing()
    return user


def _missing() -> AuthError:
    return AuthError(404, "user_not_found", "User not found")


def _taken() -> AuthError:
    return AuthError(422, "email_exists", "A user with this email address has already been registered")
