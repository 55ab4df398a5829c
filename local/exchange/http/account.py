"""Routes under `/v2/account`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.activities import list_activities
from local.exchange.http.keys import exchange_of
from local.exchange.http.render import account_body, json_response
from local.exchange.trading.account import Settings
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.history import equity_points
from local.exchange.trading.listing import Direction

PAGE_SIZE_MAX = 100
_TIMEFRAMES = {
    "1Min": timedelta(minutes=1),
    "5Min": timedelta(minutes=5),
    "15Min": timedelta(minutes=15),
    "1H": timedelta(hours=1),
}
_PERIOD_DAYS = {"D": 1, "W": 7, "M": 31, "A": 366}
_MULTIPLIERS = ("1", "2", "3", "4")
_CONFIRM_EMAILS = ("all", "none")


async def get(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    return json_response(account_body(exchange.account, exchange.valuation(), exchange.ledger.controls))


async def configurations(request: web.Request) -> web.Response:
    return json_response(_settings_body(exchange_of(request).account.settings))


async def configure(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    body = await params.json_body(request)
    exchange.configure(_changed(exchange.account.settings, body))
    return json_response(_settings_body(exchange.account.settings))


async def activities(request: web.Request) -> web.Response:
    """List what happened in the account: executions, crypto fees and splits, newest first."""
    query, exchange = request.query, exchange_of(request)
    wanted = request.match_info.get("kind") or query.get("activity_types") or _of_category(query.get("category"))
    page = list_activities(
        exchange.ledger.store,
        kinds={kind.strip().upper() for kind in wanted.split(",")},
        after=params.moment(query, "after") or params.moment(query, "date"),
        until=params.moment(query, "until") or params.moment(query, "date", end_of_day=True),
        direction=params.choice(query, "direction", Direction.DESC),
        limit=params.count(query, "page_size", default=PAGE_SIZE_MAX, highest=PAGE_SIZE_MAX),
        page_token=query.get("page_token"),
    )
    return json_response(page)


async def portfolio_history(request: web.Request) -> web.Response:
    """Return the account's equity over time: at closes, or at times of regular hours."""
    exchange, query = exchange_of(request), request.query
    points = equity_points(exchange, *_history_range(exchange, query), _timeframe(query.get("timeframe")))
    base = points[0].equity if points else exchange.account.last_equity
    per_day = query.get("pnl_reset", "per_day") == "per_day" and query.get("timeframe", "1D") != "1D"
    bases = [point.day_base if per_day else base for point in points]
    gains = [point.equity - start for point, start in zip(points, bases, strict=True)]
    return json_response(
        {
            "timestamp": [int(point.at.timestamp()) for point in points],
            "equity": [float(point.equity) for point in points],
            "profit_loss": [float(gain) for gain in gains],
            "profit_loss_pct": [_ratio(gain, start) for gain, start in zip(gains, bases, strict=True)],
            "base_value": float(base),
            "base_value_asof": points[0].at.date().isoformat() if points else None,
            "timeframe": query.get("timeframe", "1D"),
        }
    )


def _ratio(gain: Decimal, base: Decimal) -> float:
    return float(gain / base) if base else 0.0


def _of_category(category: str | None) -> str:
    kinds = {None: "FILL,CFEE,SPLIT", "trade_activity": "FILL", "non_trade_activity": "CFEE,SPLIT"}
    if category not in kinds:
        raise invalid("invalid category")
    return kinds[category]


def _timeframe(text: str | None) -> timedelta | None:
    """Return the distance of two points, None for one point a day."""
    if text in (None, "", "1D"):
        return None
    if text not in _TIMEFRAMES:
        raise invalid("invalid timeframe")
    return _TIMEFRAMES[text]


def _history_range(exchange: Exchange, query: Mapping[str, str]) -> tuple[datetime, datetime]:
    """Return the time that is asked for; without a start, a period that ends now (a month)."""
    end = params.moment(query, "end") or params.moment(query, "date_end", end_of_day=True) or exchange.ledger.now
    start = params.moment(query, "start") or params.moment(query, "date_start")
    if start is not None:
        return start, end
    match = re.fullmatch(r"([1-9]\d{0,3})([DWMA])", query.get("period") or "1M")
    if match is None and query.get("period") != "all":
        raise invalid("invalid period")
    days = int(match[1]) * _PERIOD_DAYS[match[2]] if match else 365 * 100
    return end - timedelta(days=days), end


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
