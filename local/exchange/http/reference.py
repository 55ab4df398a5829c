"""Routes for the clock, the calendar and the assets."""

from __future__ import annotations

from datetime import date
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import asset_body, json_response
from local.exchange.market.assets import ASSETS, find_asset
from local.exchange.market.calendar import NEW_YORK, Session
from local.exchange.trading.errors import not_found


async def clock(request: web.Request) -> web.Response:
    ledger, calendar = request.app[EXCHANGE].ledger, request.app[EXCHANGE].market.calendar
    here = calendar[ledger.moment.session]
    after = calendar[ledger.moment.session + 1]
    before_open = ledger.moment.tick < 0
    before_close = ledger.moment.tick < here.last_tick
    return json_response(
        {
            "timestamp": ledger.now.astimezone(NEW_YORK).isoformat(),
            "is_open": ledger.is_open,
            "next_open": _local((here if before_open else after).opens),
            "next_close": _local((here if before_close else after).closes),
        }
    )


async def calendar(request: web.Request) -> web.Response:
    start = params.day(request.query, "start") or date.min
    end = params.day(request.query, "end") or date.max
    sessions = request.app[EXCHANGE].market.calendar.sessions
    return json_response([_day(each, sessions) for each in sessions if start <= each.date <= end])


async def assets(request: web.Request) -> web.Response:
    """List what is listed by now; a symbol before its first day shows only as inactive."""
    query, exchange = request.query, request.app[EXCHANGE]
    if query.get("asset_class", "us_equity") != "us_equity":
        return json_response([])
    wanted = query.get("status", "active")
    rows = []
    for asset in ASSETS.values():
        listed = exchange.market.is_listed(asset.symbol, exchange.ledger.moment)
        if wanted == ("active" if listed else "inactive"):
            rows.append(asset_body(asset, listed=listed))
    exchanges = params.symbols(query, "exchange")
    return json_response([row for row in rows if not exchanges or row["exchange"] in exchanges])


async def asset(request: web.Request) -> web.Response:
    exchange, name = request.app[EXCHANGE], request.match_info["symbol"]
    found = find_asset(name)
    if found is None:
        raise not_found(f"asset not found for {name}")
    listed = exchange.market.is_listed(found.symbol, exchange.ledger.moment)
    return json_response(asset_body(found, listed=listed))


def _day(session: Session, sessions: list[Session]) -> dict[str, Any]:
    # T+3 was the rule of the years that the tape covers.
    settles = sessions[min(session.index + 3, len(sessions) - 1)]
    return {
        "date": session.date.isoformat(),
        "open": f"{session.opens.astimezone(NEW_YORK):%H:%M}",
        "close": f"{session.closes.astimezone(NEW_YORK):%H:%M}",
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": settles.date.isoformat(),
    }


def _local(at: Any) -> str:
    return str(at.astimezone(NEW_YORK).isoformat())
