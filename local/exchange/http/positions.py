"""Routes under `/v2/positions`."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.faults import Kind
from local.exchange.http.keys import LAG, exchange_of
from local.exchange.http.misbehaviour import fault_of
from local.exchange.http.render import json_response, last_close, order_body, position_body
from local.exchange.trading.account import Position
from local.exchange.trading.errors import Refusal, invalid, not_found
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.numbers import SHARE, is_whole
from local.exchange.trading.quotes import find_symbol, tick_of
from local.exchange.trading.ticket import read_qty


async def list_all(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    positions = sorted(_visible(request, exchange).values(), key=lambda held: held.symbol)
    return json_response([_body(exchange, held) for held in positions])


async def get(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    return json_response(_body(exchange, _position(request, exchange)))


async def close(request: web.Request) -> web.Response:
    """Close one position, whole or in part; open orders of the symbol are left alone."""
    exchange = exchange_of(request)
    held = _position(request, exchange)
    order = exchange.close_position(held.symbol, _wanted_qty(request, held))
    return json_response(order_body(order))


async def close_all(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    if params.flag(request.query, "cancel_orders"):
        exchange.cancel_all()
    positions = sorted(exchange.account.positions.values(), key=lambda held: held.symbol)
    return json_response([_close(exchange, held) for held in positions], 207)


def _close(exchange: Exchange, held: Position) -> dict[str, Any]:
    try:
        order = exchange.close_position(held.symbol, abs(held.qty))
    except Refusal as refusal:
        return {"symbol": held.symbol, "status": refusal.status, "body": refusal.body}
    return {"symbol": held.symbol, "status": 200, "body": order_body(order)}


def _position(request: web.Request, exchange: Exchange) -> Position:
    symbol = find_symbol(exchange.market, request.match_info["symbol"])
    held = _visible(request, exchange).get(symbol) if symbol else None
    if held is None:
        raise not_found("position does not exist")
    return held


def _visible(request: web.Request, exchange: Exchange) -> dict[str, Position]:
    """Return the positions that this request may see: with a lag those of a moment ago."""
    fault = fault_of(request, Kind.POSITION_LAG)
    return request.app[LAG].positions(exchange, fault) if fault else exchange.account.positions


def _wanted_qty(request: web.Request, held: Position) -> Decimal:
    query, whole = request.query, abs(held.qty)
    if "qty" in query and "percentage" in query:
        raise invalid("qty and percentage are mutually exclusive")
    if "qty" in query:
        return read_qty(query)
    if "percentage" not in query:
        return whole
    percentage = read_qty(query, "percentage")
    if percentage > 100:
        raise invalid("percentage must be between 0 and 100")
    # A part of a share can be sold but not bought back: a short position closes in whole ones.
    step = SHARE if held.qty > 0 or not is_whole(held.qty) else Decimal(1)
    qty = (whole * percentage / 100).quantize(step, ROUND_DOWN)
    if not qty:
        raise invalid("percentage is too small")
    return qty


def _body(exchange: Exchange, held: Position) -> dict[str, Any]:
    market = exchange.market
    tick = tick_of(market, exchange.ledger, held.symbol)
    close = last_close(market, held.symbol, exchange.ledger.moment.session, tick)
    return position_body(held, tick, close, exchange.ledger.book.reserved(held.symbol))
