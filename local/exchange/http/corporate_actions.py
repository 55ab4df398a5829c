"""Splits and dividends: the trading API's announcements, and the data API's corporate actions."""

from __future__ import annotations

from datetime import date
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import json_response
from local.exchange.http.series import PAGE_LIMIT_DEFAULT, bad_request
from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.corporate import Action, known_actions
from local.exchange.trading.errors import invalid, not_found, not_simulated
from local.exchange.trading.listing import Direction

DAYS_MAX = 90
_ANNOUNCEMENTS = ("dividend", "merger", "spinoff", "split")
_DATES = ("declaration_date", "ex_date", "record_date", "payable_date")
# The names of the actions that occur here: in a request, and in the answer.
_GROUPS = {"forward_split": "forward_splits", "cash_dividend": "cash_dividends"}


async def announcements(request: web.Request) -> web.Response:
    """List announcements by ex-date; the other dates are not known."""
    query = request.query
    kinds = {kind.strip().lower() for kind in query.get("ca_types", "").split(",") if kind.strip()}
    if not kinds or not kinds <= set(_ANNOUNCEMENTS):
        raise invalid("ca_types must name some of " + ", ".join(_ANNOUNCEMENTS))
    since, until = params.day(query, "since"), params.day(query, "until")
    if since is None or until is None:
        raise invalid("since and until are required")
    if not 0 <= (until - since).days <= DAYS_MAX:
        raise invalid(f"since and until must be at most {DAYS_MAX} days apart")
    _check_date_type(query.get("date_type", "ex_date"))
    found = [each for each in _known(request) if since <= each.ex_date <= until]
    wanted = query.get("symbol", "").upper()
    rows = [_announcement(request, each) for each in found if wanted in ("", each.symbol)]
    cusip = query.get("cusip")
    return json_response(
        [row for row in rows if row["ca_type"] in kinds and cusip in (None, row["initiating_original_cusip"])]
    )


async def announcement(request: web.Request) -> web.Response:
    id = request.match_info["announcement_id"].lower()
    found = next((each for each in _known(request) if each.id == id), None)
    if found is None:
        raise not_found(f"announcement not found for {id}")
    return json_response(_announcement(request, found))


async def actions(request: web.Request) -> web.Response:
    """Return one page of corporate actions of all kinds, grouped by kind."""
    query = request.query
    limit = params.count(query, "limit", default=100, highest=PAGE_LIMIT_DEFAULT)
    found = _selected(request)
    begin = _offset(query.get("page_token"))
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in found[begin : begin + limit]:
        groups.setdefault(_GROUPS[_kind(each)], []).append(_action(request, each))
    token = str(begin + limit) if begin + limit < len(found) else None
    return json_response({"corporate_actions": groups, "next_page_token": token})


def _selected(request: web.Request) -> list[Action]:
    query, found = request.query, _known(request)
    ids = [id.strip().lower() for id in query.get("ids", "").split(",") if id.strip()]
    if ids:
        return [each for each in found if each.id in ids]
    today = _today(request)
    start, end = params.day(query, "start") or today, params.day(query, "end") or today
    if end < start:
        raise bad_request("end should not be before start")
    symbols, kinds = params.symbols(query), [kind.lower() for kind in params.symbols(query, "types")]
    cusips = params.symbols(query, "cusips")
    found = [each for each in found if start <= each.ex_date <= end]
    found = [each for each in found if not symbols or each.symbol in symbols]
    found = [each for each in found if not kinds or _kind(each) in kinds]
    found = [each for each in found if not cusips or _cusip(request, each) in cusips]
    descending = params.choice(query, "sort", Direction.ASC) is Direction.DESC
    return found[::-1] if descending else found


def _known(request: web.Request) -> list[Action]:
    return known_actions(request.app[EXCHANGE].market.tape, _today(request))


def _today(request: web.Request) -> date:
    return request.app[EXCHANGE].ledger.now.astimezone(NEW_YORK).date()


def _check_date_type(name: str) -> None:
    if name not in _DATES:
        raise invalid("invalid date_type")
    if name != "ex_date":
        raise not_simulated(f"date_type {name} (only ex-dates are known)")


def _announcement(request: web.Request, action: Action) -> dict[str, Any]:
    cusip = _cusip(request, action)
    return {
        "id": action.id,
        "corporate_action_id": f"{action.symbol}_{action.ex_date:%Y%m%d}",
        "ca_type": "split" if action.is_split else "dividend",
        "ca_sub_type": "stock_split" if action.is_split else "cash",
        "initiating_symbol": action.symbol,
        "initiating_original_cusip": cusip,
        "target_symbol": action.symbol,
        "target_original_cusip": cusip,
        "declaration_date": None,
        "ex_date": action.ex_date.isoformat(),
        "record_date": None,
        "payable_date": None,
        "cash": str(action.cash),
        "old_rate": "1",
        "new_rate": str(action.ratio),
    }


def _action(request: web.Request, action: Action) -> dict[str, Any]:
    day = action.ex_date.isoformat()
    body = {
        "id": action.id,
        "symbol": action.symbol,
        "cusip": _cusip(request, action),
        "process_date": day,
        "ex_date": day,
    }
    if action.is_split:
        return body | {"new_rate": action.ratio, "old_rate": 1}
    return body | {"rate": float(action.cash), "special": False, "foreign": False}


def _kind(action: Action) -> str:
    return "forward_split" if action.is_split else "cash_dividend"


def _cusip(request: web.Request, action: Action) -> str:
    return request.app[EXCHANGE].market.tape.assets[action.symbol].cusip


def _offset(token: str | None) -> int:
    if not token:
        return 0
    if not token.isascii() or not token.isdigit() or len(token) > 9:
        raise bad_request("invalid page_token")
    return int(token)
