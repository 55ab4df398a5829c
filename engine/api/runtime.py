"""`/api/status`, `/api/alerts`, `/api/symbol/{symbol}`: what goes on, as far as it is the caller's to see."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.encoders import jsonable_encoder

from db import commands
from db.models import TradingStatus
from db.queries.lockouts import LockoutFilters, lockout_rows
from db.queries.runtime import held_positions, open_findings, open_orders, profile_states
from engine.api.caller import Caller, GetCaller
from engine.api.control import health_view
from engine.api.errors import NAMED, READING
from engine.api.shapes import Alerts, Status, Symbol
from engine.service.health_tracker import HealthTracker

LOCKOUTS_MAX = 50


def runtime_routes(health: HealthTracker, caller: GetCaller) -> APIRouter:
    """Return the routes that tell what goes on. Row-level security keeps other owners' rows out."""
    routes = APIRouter(prefix="/api")
    signed_in = Depends(caller)

    @routes.get("/status", response_model=Status, responses=READING)
    def status(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        control = commands.trading_status(who.client)  # refuses whoever is no member
        return {
            "success": True,
            "trading": jsonable_encoder(control),
            "health": health_view(health, control),
            "profiles": profile_states(who.client),
            "positions": held_positions(who.client),
            "orders": open_orders(who.client),
        }

    @routes.get("/alerts", response_model=Alerts, responses=READING)
    def alerts(who: Annotated[Caller, signed_in]) -> dict[str, Any]:
        control = commands.trading_status(who.client)
        return {"success": True, "alerts": [*_stopped(control), *map(_finding, open_findings(who.client))]}

    @routes.get("/symbol/{symbol:path}", response_model=Symbol, responses=NAMED)  # a pair such as BTC/USD has a slash
    def symbol_now(
        symbol: str,
        who: Annotated[Caller, signed_in],
        profile_id: UUID | None = None,
        side: Literal["buy", "sell"] = "buy",
        qty: Decimal = Decimal(1),
        price: Decimal | None = None,
    ) -> dict[str, Any]:
        answers = commands.why(who.client, symbol=symbol, profile_id=profile_id, side=side, qty=qty, price=price)
        known = answers[0].symbol  # in its one spelling; an unknown symbol is refused above
        locked, _ = lockout_rows(
            who.client, LockoutFilters(tickers=(known, "*")), after=None, size=LOCKOUTS_MAX, in_force=True
        )
        return {
            "success": True,
            "symbol": known,
            "why": jsonable_encoder(answers),
            "lockouts": locked,
            "positions": held_positions(who.client, known),
            "orders": open_orders(who.client, known),
        }

    return routes


def _stopped(control: TradingStatus) -> Iterator[dict[str, Any]]:
    """Return an alert for each scope that does not run, the whole of trading first."""
    everything = {
        "scope": "global",
        "scope_key": "*",
        "changed_by_email": control.lastChangedBy,
        **control.model_dump(include={"mode", "reason", "reason_code", "changed_at", "resume_at"}),
    }
    fields = {"scope", "scope_key", "mode", "reason", "reason_code", "changed_at", "resume_at", "changed_by_email"}
    for stopped in (everything, *(scope.model_dump(include=fields) for scope in control.scopes)):
        if stopped["mode"] != "RUNNING":
            what = "Trading" if stopped["scope"] == "global" else f"{stopped['scope']} {stopped['scope_key']}"
            yield _alert(
                f"TRADING_{stopped['mode']}",
                f"{what} was {stopped['mode']} by {stopped['changed_by_email']}: {stopped['reason']}",
                at=stopped["changed_at"],
                symbol=stopped["scope_key"] if stopped["scope"] == "symbol" else None,
                detail=stopped,
            )


def _finding(found: dict[str, Any]) -> dict[str, Any]:
    where = f" in {found['symbol']}" if found["symbol"] else ""
    message = f"Our books and the broker's differ{where}: {found['kind']}"
    return _alert(found["kind"], message, at=found["first_seen_at"], symbol=found["symbol"], detail=found)


def _alert(code: str, message: str, *, at: Any, symbol: str | None, detail: dict[str, Any]) -> dict[str, Any]:
    encoded: dict[str, Any] = jsonable_encoder(
        {"code": code, "message": message, "at": at, "symbol": symbol, "detail": detail}
    )
    return encoded
