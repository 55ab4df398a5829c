"""`/internal/*`: pause, resume, halt, and how the engine is."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict

from db import commands
from db.models import ControlAnswer, Scope, TradingStatus
from engine import __version__
from engine.api.caller import Caller, GetCaller
from engine.service.health_tracker import HealthTracker


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
    """A resume may leave the reason out; an empty one is refused like any other.

    `override_reason` resumes although the pre-flight list is not met. `stage_entries` holds so many entries
    back: at `stage_fraction` of their size, or for approval when that is left out.
    """

    reason: str = "Resumed over the control API"
    override_reason: str | None = None
    stage_entries: int | None = None
    stage_fraction: Decimal | None = None


def control_routes(health: HealthTracker, caller: GetCaller) -> APIRouter:
    """Return the routes that change the mode and tell how the engine is."""
    routes = APIRouter(prefix="/internal")
    signed_in = Depends(caller)

    @routes.get("/trading/status")
    def status(who: Annotated[Caller, signed_in]) -> TradingStatus:
        return commands.trading_status(who.client)

    @routes.post("/trading/pause")
    def pause(body: PauseRequest, who: Annotated[Caller, signed_in]) -> ControlAnswer:
        return commands.pause_trading(who.client, **body.model_dump())

    @routes.post("/trading/resume")
    def resume(who: Annotated[Caller, signed_in], body: ResumeRequest | None = None) -> ControlAnswer:
        return commands.resume_trading(who.client, **(body or ResumeRequest()).model_dump())

    @routes.post("/trading/halt")
    def halt(body: ControlRequest, who: Annotated[Caller, signed_in]) -> ControlAnswer:
        return commands.halt_trading(who.client, **body.model_dump())

    @routes.get("/health")
    def read_health(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        control = commands.trading_status(who.client)  # refuses whoever is no member
        return health_view(health, control)

    @routes.get("/ready")
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
