"""Routes for the clock, the calendar and the assets."""

from __future__ import annotations

from datetime import date
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import asset_body, json_response
from local.exchange.market.assets import Asset, find_among
from local.exchange.market.calendar import NEW_YORK, Session
from local.exchange.trading.errors import not_found
from local.exchange.trading.exchange import Exchange


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
    """List assets, all of them or those of a status; before its first day a symbol is inactive."""
    query, exchange = request.query, request.app[EXCHANGE]
    crypto = query.get("asset_class", "us_equity") == "crypto"
    if query.get("asset_class", "us_equity") not in ("us_equity", "crypto"):
        return json_response([])
    wanted = query.get("status")
    rows = [asset_row(exchange, each) for each in exchange.market.tape.assets.values() if each.is_crypto is crypto]
    exchanges = params.symbols(query, "exchange")
    return json_response(
        [row for row in rows if wanted in (None, row["status"]) and (not exchanges or row["exchange"] in exchanges)]
    )


async def asset(request: web.Request) -> web.Response:
    exchange, name = request.app[EXCHANGE], request.match_info["symbol"]
    found = find_among(exchange.market.tape.assets, name)
    if found is None:
        raise not_found(f"asset not found for {name}")
    return json_response(asset_row(exchange, found))


def asset_row(exchange: Exchange, asset: Asset) -> dict[str, Any]:
    """Return an asset as it is at this moment of the simulated time."""
    listed = exchange.market.is_listed(asset.symbol, exchange.ledger.moment)
    if not asset.is_crypto:
        return asset_body(asset, listed=listed)
    closed = {"marginable": False, "shortable": False, "easy_to_borrow": False}
    sizes = {"min_order_size": "0.000000001", "min_trade_increment": "0.000000001", "price_increment": "0.01"}
    return asset_body(asset, listed=listed) | {"class": "crypto"} | closed | sizes


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
