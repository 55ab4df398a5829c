"""The application: one door for `/auth/v1` and `/rest/v1`, as on a hosted Supabase project."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
from aiohttp import web
from psycopg_pool import PoolTimeout

from local.auth import admin, sign_in
from local.auth.errors import AuthError
from local.auth.proxy import PREFIX, RestProxy
from local.auth.services import SERVICES, Services, api_key_role
from local.auth.settings import Settings
from local.auth.store import Pool, make_pool

BODY_MAX = 16 * 1024 * 1024
OPEN_PATHS = {"/auth/v1/health", "/auth/v1/.well-known/jwks.json"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

routes = web.RouteTableDef()


def build(settings: Settings) -> web.Application:
    """Return the application, wired."""
    pool = make_pool(settings.database_url)
    services = Services.wired(settings, pool)
    rest = RestProxy(settings, services.access)
    app = web.Application(middlewares=[_guard], client_max_size=BODY_MAX)
    app[SERVICES] = services
    app.cleanup_ctx.append(_pool_lifetime(pool))
    app.cleanup_ctx.append(rest.lifetime)
    app.add_routes([*routes, *sign_in.routes, *admin.routes])
    app.router.add_route("*", PREFIX + "/{path:.*}", rest.handle)
    return app


@routes.get("/auth/v1/health")
async def health(_request: web.Request) -> web.Response:
    """Say that the gateway is up."""
    return web.json_response({"name": "Interlock gateway", "description": "The auth endpoints of a local Supabase"})


@routes.get("/auth/v1/settings")
async def settings_shown(_request: web.Request) -> web.Response:
    """Say which ways to sign in there are: e-mail and password, for accounts that an admin made."""
    return web.json_response({"external": {"email": True}, "disable_signup": True, "mailer_autoconfirm": True})


@routes.get("/auth/v1/.well-known/jwks.json")
async def jwks(_request: web.Request) -> web.Response:
    """List the public keys: none, since tokens are signed with a shared secret."""
    return web.json_response({"keys": []})


@routes.post("/auth/v1/signup")
async def sign_up(_request: web.Request) -> web.Response:
    """Refuse: accounts are made by an admin."""
    raise AuthError(422, "signup_disabled", "Signups not allowed for this instance")


def _pool_lifetime(pool: Pool) -> Callable[[web.Application], AsyncIterator[None]]:
    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        await pool.open()
        yield
        await pool.close()

    return lifetime


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask every auth call for an API key, and put every error into GoTrue's shape."""
    if request.path.startswith(PREFIX + "/"):
        return await handler(request)
    try:
        if request.path.startswith("/auth/v1/") and request.path not in OPEN_PATHS:
            _require_key(request)
        return await handler(request)
    except AuthError as e:
        return web.json_response(e.body(), status=e.status, headers=e.headers)
    except web.HTTPException as e:
        return _answer(e.status, "not_found" if e.status == 404 else "bad_request", e.reason)
    except psycopg.DataError:
        return _answer(422, "validation_failed", "The request holds text that the database cannot store")
    except (psycopg.OperationalError, PoolTimeout):
        return _answer(503, "unexpected_failure", "The database cannot be reached. Try again in a moment.")


def _require_key(request: web.Request) -> None:
    if api_key_role(request.app[SERVICES].settings, request.headers.get("apikey")) is None:
        raise AuthError(401, "invalid_api_key", "Invalid API key")


def _answer(status: int, code: str, message: str) -> web.Response:
    body = AuthError(status, code, message).body()
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")
