"""`/api/alerts/*`: somebody looks after an alert, or its notices are held back for a time."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from db import commands
from db.alert_models import Alert, AlertMute
from db.queries.alerts import mute_rows
from engine.api.caller import Caller, GetCaller
from engine.api.errors import CHANGING, READING
from engine.api.shapes import Mutes
from engine.api.storable import Body, Reason, Whole

MINUTES_MAX = 10_080


class AcknowledgeRequest(Body):
    """What whoever looks after the alert has to say of it."""

    note: str = Field("", json_schema_extra={"maxLength": 500})


class MuteRequest(Body):
    """Which notices to hold back, why and for how long: a rule's, a subject's, or one rule's about one subject."""

    reason: Reason
    rule: str | None = None
    subject: str | None = None
    minutes: Whole = Field(default=60, json_schema_extra={"minimum": 1, "maximum": MINUTES_MAX})


def alert_routes(caller: GetCaller) -> APIRouter:
    """Return the routes that change what becomes of alerts. They stay open until their cause is gone."""
    routes = APIRouter(prefix="/api/alerts")
    signed_in = Depends(caller)

    @routes.post("/{alert_id}/acknowledge", responses=CHANGING)
    def acknowledge(alert_id: UUID, body: AcknowledgeRequest, who: Annotated[Caller, signed_in]) -> Alert:
        return commands.acknowledge_alert(who.client, alert_id=alert_id, **body.model_dump())

    @routes.get("/mutes", response_model=Mutes, responses=READING)
    def mutes(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        commands.trading_status(who.client)  # refuses whoever is no member
        return {"success": True, "mutes": mute_rows(who.client)}

    @routes.post("/mutes", status_code=201, responses=CHANGING)
    def mute(body: MuteRequest, who: Annotated[Caller, signed_in]) -> AlertMute:
        return commands.mute_alert(who.client, **body.model_dump())

    @routes.delete("/mutes/{mute_id}", responses=CHANGING)
    def unmute(
        mute_id: UUID,
        who: Annotated[Caller, signed_in],
        reason: str = "Ended over the control API",
        request_id: UUID | None = None,
    ) -> AlertMute:
        return commands.unmute_alert(who.client, mute_id=mute_id, reason=reason, request_id=request_id)

    return routes
