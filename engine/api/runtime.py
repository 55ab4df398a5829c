"""`/api/status`, `/api/alerts`, `/api/symbol/{symbol}`: what goes on, as far as it is the caller's to see."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.encoders import jsonable_encoder

from db import commands
from db.models import TradingStatus
from db.queries.alerts import open_alert_rows
from db.queries.lockouts import LockoutFilters, lockout_rows
from db.queries.runtime import held_positions, open_orders, profile_states
from engine.api.caller import Caller, GetCaller
from engine.api.control import health_view
from engine.api.errors import NAMED, READING
from engine.api.shapes import Alerts, Status, Symbol
from engine.service.health_tracker import HealthTracker

LOCKOUTS_MAX = 50
LOOKERS = ("admin", "operator")


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
        if control.role in LOOKERS:
            commands.evaluate_alerts(who.client)  # so that the answer is of now, whichever engine is dead
        return {"success": True, "alerts": [*_stopped(control), *open_alerts_of(who)]}

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


def open_alerts_of(who: Caller) -> list[dict[str, Any]]:
    """Return the open alerts that the caller may see, the latest first."""
    kept = ("id", "subject", "severity", "profile_id", "acknowledged_at", "acknowledged_by_email")
    return [
        _alert(row["rule"], row["message"], at=row["opened_at"], symbol=row["symbol"], detail=row["detail"])
        | {name: row[name] for name in kept}
        for row in open_alert_rows(who.client)
    ]


def _alert(code: str, message: str, *, at: Any, symbol: str | None, detail: dict[str, Any]) -> dict[str, Any]:
    encoded: dict[str, Any] = jsonable_encoder(
        {"code": code, "message": message, "at": at, "symbol": symbol, "detail": detail}
    )
    return encoded
