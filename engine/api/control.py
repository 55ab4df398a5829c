"""`/internal/*`: pause, resume, halt, and how the engine is."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field

from db import commands
from db.models import ControlAnswer, Scope, TradingStatus
from engine import __version__
from engine.api.caller import Caller, GetCaller
from engine.api.errors import CHANGING, READING, ErrorBody
from engine.api.shapes import Health, Ready
from engine.api.storable import Body, Reason, Switch, Whole
from engine.service.health_tracker import HealthTracker


class ControlRequest(Body):
    """Why, and for what scope; the authority judges the values."""

    reason: Reason
    scope: Scope = "global"
    scope_key: str | None = Field(default=None, description="A profile's id or a symbol; nothing for global.")
    reason_code: str = Field(default="manual", json_schema_extra={"pattern": "^[a-z][a-z0-9_]{0,39}$"})
    expected_version: Whole | None = None


class PauseRequest(ControlRequest):
    """A pause may end by itself and may leave resting entries alone."""

    resume_at: AwareDatetime | None = None
    cancel_entries: Switch = True


class ResumeRequest(ControlRequest):
    """A resume may leave the reason out; an empty one is refused like any other.

    `override_reason` resumes although the pre-flight list is not met. `stage_entries` holds so many entries
    back: at `stage_fraction` of their size, or for approval when that is left out.
    """

    reason: Reason = "Resumed over the control API"
    override_reason: Reason | None = None
    stage_entries: Whole | None = Field(default=None, json_schema_extra={"minimum": 1, "maximum": 10_000})
    stage_fraction: Decimal | None = Field(default=None, description="Between 0 and 1, such as 0.25.")


def control_routes(health: HealthTracker, caller: GetCaller) -> APIRouter:
    """Return the routes that change the mode and tell how the engine is."""
    routes = APIRouter(prefix="/internal")
    signed_in = Depends(caller)

    @routes.get("/trading/status", responses=READING)
    def status(who: Annotated[Caller, signed_in]) -> TradingStatus:
        return commands.trading_status(who.client)

    @routes.post("/trading/pause", responses=CHANGING)
    def pause(body: PauseRequest, who: Annotated[Caller, signed_in]) -> ControlAnswer:
        return commands.pause_trading(who.client, **body.model_dump())

    @routes.post("/trading/resume", responses=CHANGING)
    def resume(who: Annotated[Caller, signed_in], body: ResumeRequest | None = None) -> ControlAnswer:
        return commands.resume_trading(who.client, **(body or ResumeRequest()).model_dump())

    @routes.post("/trading/halt", responses=CHANGING)
    def halt(body: ControlRequest, who: Annotated[Caller, signed_in]) -> ControlAnswer:
        return commands.halt_trading(who.client, **body.model_dump())

    @routes.get("/health", response_model=Health, responses=READING)
    def read_health(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        control = commands.trading_status(who.client)  # refuses whoever is no member
        return health_view(health, control)

    @routes.get("/ready", response_model=Ready, responses=READING | {503: {"model": Ready | ErrorBody}})
    def ready(who: Annotated[Caller, signed_in]) -> JSONResponse:
        commands.trading_status(who.client)
        reasons = health.not_ready_because()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    return routes


def health_view(health: HealthTracker, control: TradingStatus) -> dict[str, Any]:
    """Return the engine's health beside what the authority says about trading."""
    return {
        "success": True,
        "version": __version__,
        "ready": health.is_ready,
        "isPaused": health.is_paused(),
        "brake": health.brake_is_on,
        "tradingControl": jsonable_encoder(control),
        "jobs": health.jobs(),
    }
