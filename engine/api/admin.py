"""`/api/admin/trading/*`: the risk configuration, approvals and lockouts."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from db import commands
from db.errors import Invalid
from db.models import ConfigChange, Decision, Lockout, LockoutType, PositionSide, RiskConfig
from db.queries.approvals import ApprovalFilters, approval_rows
from db.queries.lockouts import LockoutFilters, lockout_rows
from db.queries.paging import Cursor
from engine.api.caller import Caller, GetCaller
from engine.api.errors import CHANGING, READING
from engine.api.shapes import ApprovalConfig, Approvals, Lockouts
from engine.api.storable import Body, Reason, Switch, Whole

PAGE_MAX = 500
Size = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Ticker = Annotated[str | None, Query(pattern=r"^(\*|[A-Za-z][A-Za-z0-9./-]{0,14})$")]
Status = Literal["pending", "approved", "rejected", "expired", "denied", "canceled"]


class ConfigRequest(Body):
    """The whole configuration that is to hold, and the version that it replaces."""

    config: dict[str, Any]
    expected_version: Whole
    reason: Reason = "Changed over the control API"


class ApprovalConfigRequest(Body):
    """The approval settings to change; what is left out stays."""

    auto_approve_paper: Switch | None = None
    require_approval_for_live: Switch | None = None
    approval_timeout_minutes: Whole | None = None
    four_eyes: Switch | None = None
    notional_above_usd: str | int | float | None = None
    first_trade_in_symbol: Switch | None = None
    off_hours: Switch | None = None
    after_loss_streak: Whole | None = None
    expected_version: Whole | None = None
    reason: Reason = "Approval settings changed over the control API"


class DecisionRequest(Body):
    """A person's word on one entry; a rejection needs a reason."""

    decision: Literal["approve", "reject"]
    reason: Reason | None = None
    shown_hash: str | None = None


class LockoutRequest(Body):
    """Which symbol to lock out, why and for how long."""

    ticker: str = Field(json_schema_extra={"pattern": r"^\s*(\*|[A-Za-z][A-Za-z0-9./-]{0,14})\s*$"})
    reason: Reason
    duration_minutes: Whole = Field(default=60, json_schema_extra={"minimum": 1, "maximum": 525_600})
    lockout_type: LockoutType = "manual"
    side: PositionSide | None = None


def admin_routes(caller: GetCaller) -> APIRouter:
    """Return the routes of the configuration, the approvals and the lockouts."""
    routes = APIRouter(prefix="/api/admin/trading")
    _add_config(routes, Depends(caller))
    _add_approvals(routes, Depends(caller))
    _add_lockouts(routes, Depends(caller))
    return routes


def _add_config(routes: APIRouter, signed_in: Any) -> None:
    @routes.get("/config", responses=READING)
    def config(who: Annotated[Caller, signed_in]) -> RiskConfig:
        return commands.risk_config(who.client)

    @routes.put("/config", responses=CHANGING)
    def change_config(body: ConfigRequest, who: Annotated[Caller, signed_in]) -> ConfigChange:
        return commands.update_risk_config(who.client, **body.model_dump())

    @routes.get("/approval-config", response_model=ApprovalConfig, responses=READING)
    def approval_config(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        return commands.approval_config(who.client)

    @routes.put("/approval-config", response_model=ApprovalConfig, responses=CHANGING)
    def change_approval_config(body: ApprovalConfigRequest, who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        about = {"reason", "expected_version", "request_id"}
        patch = body.model_dump(exclude=about, exclude_unset=True)
        commands.update_approval_config(who.client, patch=patch, **body.model_dump(include=about))
        return commands.approval_config(who.client)


def _add_approvals(routes: APIRouter, signed_in: Any) -> None:
    @routes.get("/approvals", response_model=Approvals, responses=READING)
    def approvals(
        who: Annotated[Caller, signed_in],
        status: Annotated[list[Status] | None, Query()] = None,
        symbol: Ticker = None,
        after: str | None = None,
        limit: Size = 100,
    ) -> dict[str, Any]:
        commands.trading_status(who.client)  # refuses whoever is no member
        filters = ApprovalFilters(statuses=tuple(status or ()), symbols=(symbol.upper(),) if symbol else ())
        found, following = approval_rows(who.client, filters, _cursor(after), limit)
        return {"success": True, "approvals": found, "next": _token(following)}

    @routes.put("/approvals/{approval_id}", responses=CHANGING)
    def decide(approval_id: UUID, body: DecisionRequest, who: Annotated[Caller, signed_in]) -> Decision:
        return commands.decide_approval(who.client, approval_id=approval_id, **body.model_dump())


def _add_lockouts(routes: APIRouter, signed_in: Any) -> None:
    @routes.get("/lockouts", response_model=Lockouts, responses=READING)
    def lockouts(
        who: Annotated[Caller, signed_in],
        active: bool = True,
        ticker: Ticker = None,
        after: str | None = None,
        limit: Size = 100,
    ) -> dict[str, Any]:
        commands.trading_status(who.client)
        filters = LockoutFilters(tickers=(ticker.upper(),) if ticker else ())
        found, following = lockout_rows(who.client, filters, _cursor(after), limit, in_force=active)
        return {"success": True, "lockouts": found, "next": _token(following)}

    @routes.post("/lockouts", status_code=201, responses=CHANGING)
    def create(body: LockoutRequest, who: Annotated[Caller, signed_in]) -> Lockout:
        return commands.create_lockout(who.client, **body.model_dump())

    @routes.delete("/lockouts/{lockout_id}", responses=CHANGING)
    def remove(
        lockout_id: UUID,
        who: Annotated[Caller, signed_in],
        reason: str = "Removed over the control API",
        request_id: UUID | None = None,
    ) -> Lockout:
        return commands.remove_lockout(who.client, lockout_id=lockout_id, reason=reason, request_id=request_id)


def _token(cursor: Cursor | None) -> str | None:
    """Return where the next page starts, as the caller sends it back in `after`."""
    return f"{cursor.at.isoformat()}~{cursor.id}" if cursor else None


def _cursor(after: str | None) -> Cursor | None:
    if after is None:
        return None
    at, _, id_ = after.replace(" ", "+").partition("~")  # a plus that was not escaped in the address
    try:
        return Cursor(datetime.fromisoformat(at), str(UUID(id_)))
    except ValueError as e:
        raise Invalid(
            "after is no place in this list.", code="INVALID", hint="Send what the page before gave as next."
        ) from e
