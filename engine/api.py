"""The control API. It acts with the caller's own token, so that the database decides here too."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import start_http_server
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from db import commands, errors
from db.client import sign_in_client
from db.models import ControlAnswer, Scope, TradingStatus
from engine import __version__
from engine.bootstrap import Engine
from engine.domain.errors import ConfigError
from engine.service.health_tracker import HealthTracker

HOST: Final = "127.0.0.1"
CLIENTS_KEPT: Final = 64
STOP_WITHIN_S: Final = 5
log = structlog.get_logger(__name__)

_STATUS_OF: Final[dict[type[errors.AuthorityError], int]] = {
    errors.NotSignedIn: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LeaseLost: 409,
    errors.Invalid: 422,
    errors.Unreachable: 503,
}


class ControlRequest(BaseModel):
    """Why, and for what scope; the authority judges the values."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    request_id: UUID | None = None
    scope: Scope = "global"
    scope_key: str | None = None
    reason_code: str = "manual"
    expected_version: int | None = None


class PauseRequest(ControlRequest):
    """A pause may end by itself and may leave resting entries alone."""

    resume_at: AwareDatetime | None = None
    cancel_entries: bool = True


class ResumeRequest(ControlRequest):
    """A resume may leave the reason out; an empty one is refused like any other."""

    reason: str = "Resumed over the control API"


class Caller:
    """A signed-in user, known by the token alone."""

    def __init__(self, client: Any) -> None:
        self.client = client


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

    _add_routes(api, health, caller)
    _add_error_handlers(api)
    return api


def _add_routes(api: FastAPI, health: HealthTracker, caller: Callable[..., Caller]) -> None:
    signed_in = Depends(caller)

    @api.get("/internal/trading/status")
    def status(who: Annotated[Caller, signed_in]) -> TradingStatus:
        return commands.trading_status(who.client)

    @api.post("/internal/trading/pause")
    def pause(body: PauseRequest, who: Annotated[Caller, signed_in]) -> ControlAnswer:
        return commands.pause_trading(who.client, **body.model_dump())

    @api.post("/internal/trading/resume")
    def resume(who: Annotated[Caller, signed_in], body: ResumeRequest | None = None) -> ControlAnswer:
        return commands.resume_trading(who.client, **(body or ResumeRequest()).model_dump())

    @api.post("/internal/trading/halt")
    def halt(body: ControlRequest, who: Annotated[Caller, signed_in]) -> ControlAnswer:
        return commands.halt_trading(who.client, **body.model_dump())

    @api.get("/internal/health")
    def read_health(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        control = commands.trading_status(who.client)  # refuses whoever is no member
        return {
            "success": True,
            "version": __version__,
            "ready": health.is_ready,
            "isPaused": health.is_paused(),
            "brake": health.brake_is_on,
            "tradingControl": jsonable_encoder(control),
            "jobs": health.jobs(),
        }

    @api.get("/internal/ready")
    def ready(who: Annotated[Caller, signed_in]) -> JSONResponse:
        commands.trading_status(who.client)
        reasons = health.not_ready_because()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


def _add_error_handlers(api: FastAPI) -> None:
    @api.exception_handler(errors.AuthorityError)
    def refused(_: Request, error: errors.AuthorityError) -> JSONResponse:
        status = next((code for kind, code in _STATUS_OF.items() if isinstance(error, kind)), 500)
        return _error(status, error.code, error.message, error.hint)

    @api.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(part for part in first["loc"][1:] if isinstance(part, str)) or "body"
        return _error(422, "INVALID", f"{where}: {first['msg']}", "See /openapi.json.")

    @api.exception_handler(HTTPException)
    def unknown_route(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, HTTPStatus(error.status_code).name, str(error.detail), None)


def _error(status: int, code: str, message: str, hint: str | None) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    body = {"success": False, "error": {"code": code, "message": message, "hint": hint}}
    return JSONResponse(body, status, headers=headers)


@contextmanager
def serve(engine: Engine) -> Iterator[None]:
    """Serve the API and the metrics on this machine while the body runs.

    Raises
    ------
    ConfigError when a port is taken
    """
    settings = engine.settings
    api = build_api(
        engine.health, supabase_url=settings.supabase_url, publishable_key=settings.supabase_publishable_key
    )
    with listen(settings.engine_api_port, "ENGINE_API_PORT") as listener:
        metrics_server, metrics_thread = _serve_metrics(settings.metrics_port)
        log.info("listening", api_port=listener.getsockname()[1], metrics_port=metrics_server.server_port)
        try:
            with serving(api, listener):
                yield
        finally:
            metrics_server.shutdown()
            metrics_server.server_close()
            metrics_thread.join()


def listen(port: int, variable: str) -> socket.socket:
    """Take a port of this machine; 0 takes any free one. Raise ConfigError when it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise _port_is_taken(port, variable) from error
    return listener


@contextmanager
def serving(api: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Serve an API from a thread of its own while the body runs."""
    server = uvicorn.Server(uvicorn.Config(api, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=STOP_WITHIN_S)


def _serve_metrics(port: int) -> tuple[Any, threading.Thread]:
    try:
        return start_http_server(port, addr=HOST)
    except OSError as error:
        raise _port_is_taken(port, "METRICS_PORT") from error


def _port_is_taken(port: int, variable: str) -> ConfigError:
    return ConfigError(f"port {port} is in use: stop what uses it, or set {variable} to another port (0: any free one)")
