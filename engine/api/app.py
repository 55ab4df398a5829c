"""The API as a whole: who is calling, the routes, and how errors look."""

from functools import lru_cache
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from db import errors
from db.client import sign_in_client
from engine import __version__
from engine.api.admin import admin_routes
from engine.api.caller import Caller
from engine.api.control import control_routes
from engine.api.errors import add_error_handlers
from engine.api.runtime import runtime_routes
from engine.service.health_tracker import HealthTracker

CLIENTS_KEPT: Final = 64


def build_api(health: HealthTracker, *, supabase_url: str, publishable_key: str) -> FastAPI:
    """Build the API around an engine's health and the authority's address."""
    api = FastAPI(title="Interlock engine", version=__version__)
    bearer = HTTPBearer(auto_error=False)

    @lru_cache(maxsize=CLIENTS_KEPT)  # a client costs 30 ms to make
    def client_of(token: str) -> Any:
        return sign_in_client(supabase_url, publishable_key, token)

    def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Caller:
        if credentials is None:
            raise errors.NotSignedIn(
                "A token is required.", code="NOT_SIGNED_IN", hint="Send Authorization: Bearer <access token>."
            )
        return Caller(client_of(credentials.credentials))

    for routes in (control_routes(health, caller), runtime_routes(health, caller), admin_routes(caller)):
        api.include_router(routes)
    add_error_handlers(api)
    return api
