"""Routes under `/v2/account`."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import account_body, activity_body, activity_id, json_response
from local.exchange.trading.account import Settings
from local.exchange.trading.errors import invalid, not_simulated
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.listing import Direction, list_fills

PAGE_SIZE_MAX = 100
_MULTIPLIERS = ("1", "2", "3", "4")
_CONFIRM_EMAILS = ("all", "none")


async def get(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    return json_response(account_body(exchange.account, exchange.valuation()))


async def configurations(request: web.Request) -> web.Response:
    return json_response(_settings_body(request.app[EXCHANGE].account.settings))


async def configure(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    body = await params.json_body(request)
    exchange.configure(_changed(exchange.account.settings, body))
    return json_response(_settings_body(exchange.account.settings))


async def activities(request: web.Request) -> web.Response:
    """List executions, the only kind of activity that happens here."""
    wanted = request.match_info.get("kind") or request.query.get("activity_types", "FILL")
    if "FILL" not in wanted.upper().split(","):
        return json_response([])
    query, exchange = request.query, request.app[EXCHANGE]
    after = params.moment(query, "after") or params.moment(query, "date")
    until = params.moment(query, "until") or params.moment(query, "date", end_of_day=True)
    fills = list_fills(
        exchange.ledger.store,
        after=after,
        until=until,
        beyond_seq=_page_end(query.get("page_token"), exchange),
        direction=params.choice(query, "direction", Direction.DESC),
        limit=params.count(query, "page_size", default=PAGE_SIZE_MAX, highest=PAGE_SIZE_MAX),
    )
    return json_response([activity_body(fill) for fill in fills])


async def portfolio_history(request: web.Request) -> web.Response:
    """Return the equity at every session's close."""
    exchange = request.app[EXCHANGE]
    if request.query.get("timeframe", "1D") != "1D":
        raise not_simulated("portfolio history in other timeframes than 1D")
    closes = list(exchange.ledger.store.closes())
    base = closes[0].equity if closes else exchange.account.last_equity
    gains = [close.equity - base for close in closes]
    return json_response(
        {
            "timestamp": [int(close.at.timestamp()) for close in closes],
            "equity": [float(close.equity) for close in closes],
            "profit_loss": [float(gain) for gain in gains],
            "profit_loss_pct": [float(gain / base) for gain in gains],
            "base_value": float(base),
            "timeframe": "1D",
        }
    )


def _page_end(token: str | None, exchange: Exchange) -> int | None:
    if token is None:
        return None
    fill_id = token.rpartition("::")[2]
    fill = next(exchange.ledger.store.fills("id = ?", [fill_id]), None)
    if fill is None or activity_id(fill) != token:
        raise invalid("invalid page_token")
    return fill.seq


def _changed(settings: Settings, body: dict[str, Any]) -> Settings:
    known = {field.name for field in fields(Settings)}
    changes = {name: value for name, value in body.items() if name in known and value is not None}
    for name, value in changes.items():
        if isinstance(getattr(settings, name), bool) and not isinstance(value, bool):
            raise invalid(f"invalid {name}")
    if changes.get("max_margin_multiplier", "1") not in _MULTIPLIERS:
        raise invalid("invalid max_margin_multiplier")
    if changes.get("trade_confirm_email", "all") not in _CONFIRM_EMAILS:
        raise invalid("invalid trade_confirm_email")
    return replace(settings, **changes)


def _settings_body(settings: Settings) -> dict[str, Any]:
    return asdict(settings) | {"max_options_trading_level": None}
