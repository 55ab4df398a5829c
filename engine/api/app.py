"""The API as a whole: who is calling, the routes, and how errors look."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from engine import __version__
from engine.adapters.system_clock import SystemClock
from engine.api.admin import admin_routes
from engine.api.alerts import alert_routes
from engine.api.body_limit import BodyLimit
from engine.api.caller import Caller, Callers
from engine.api.control import control_routes
from engine.api.errors import add_error_handlers
from engine.api.live import Live, add_live_route
from engine.api.request_ids import RequestIds
from engine.api.runtime import runtime_routes
from engine.api.storable import require_storable_address
from engine.service.health_tracker import HealthTracker

ABOUT: Final = """
Every call acts with the rights of the person whose access token it carries. What is refused has one shape:
`{"success": false, "error": {"code", "message", "hint"}}`. Amounts are text, so that no digit is lost.
`WS /ws` tells of every change; see docs/http-api.md.
"""
_SYSTEM_TIME: Final = SystemClock().now


def build_api(
    health: HealthTracker,
    *,
    supabase_url: str,
    publishable_key: str,
    now: Callable[[], datetime] = _SYSTEM_TIME,
) -> FastAPI:
    """Build the API around an engine's health and the authority's address.

    Parameters
    ----------
    now : this machine's time, aware: a connection ends when its token does
    """
    # No /docs page: it would run another host's scripts beside a person's token.
    api = FastAPI(title="Interlock engine", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    bearer = HTTPBearer(auto_error=False, description="A person's access token.")
    callers = Callers(supabase_url, publishable_key)

    def caller(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        found = callers.of(credentials.credentials if credentials else None)
        require_storable_address(request)
        return found

    of_engine = (control_routes(health, caller), runtime_routes(health, caller))
    for routes in (*of_engine, alert_routes(caller), admin_routes(caller)):
        api.include_router(routes)
    add_live_route(api, Live(health, callers, now))
    add_error_handlers(api)
    api.add_middleware(BodyLimit)
    api.add_middleware(RequestIds)  # the last one added is the outermost
    return api
