"""Routes under `/v2/orders`."""

from __future__ import annotations

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.render import json_response, order_body
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.listing import Direction, OrderFilter, Wanted
from local.exchange.trading.order import Order, Side

LIST_LIMIT_DEFAULT = 50
LIST_LIMIT_MAX = 500


async def submit(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    order = exchange.submit(await params.json_body(request))
    return json_response(with_legs(exchange, order))


async def list_all(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    wanted = _filter(request, exchange)
    orders = exchange.orders(wanted)
    if wanted.nested:
        return json_response([with_legs(exchange, order) for order in orders])
    return json_response([order_body(order) for order in orders])


async def get(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    order = exchange.order(params.order_id(request))
    nested = params.flag(request.query, "nested")
    return json_response(with_legs(exchange, order) if nested else order_body(order))


async def get_by_client_id(request: web.Request) -> web.Response:
    client_order_id = request.query.get("client_order_id")
    if not client_order_id:
        raise invalid("client_order_id is missing")
    exchange = request.app[EXCHANGE]
    return json_response(with_legs(exchange, exchange.order_by_client_id(client_order_id)))


async def replace(request: web.Request) -> web.Response:
    exchange = request.app[EXCHANGE]
    order = exchange.replace(params.order_id(request), await params.json_body(request))
    return json_response(with_legs(exchange, order))


async def cancel(request: web.Request) -> web.Response:
    request.app[EXCHANGE].cancel(params.order_id(request))
    return web.Response(status=204)


async def cancel_all(request: web.Request) -> web.Response:
    ids = request.app[EXCHANGE].cancel_all()
    return json_response([{"id": order_id, "status": 200} for order_id in ids], 207)


def with_legs(exchange: Exchange, order: Order) -> dict[str, object]:
    return order_body(order, exchange.legs(order))


def _filter(request: web.Request, exchange: Exchange) -> OrderFilter:
    query = request.query
    after, until = params.moment(query, "after"), params.moment(query, "until")
    after_seq = _seq(query.get("after_order_id"), exchange)
    before_seq = _seq(query.get("before_order_id"), exchange)
    if after_seq is not None and before_seq is not None:
        raise invalid("before_order_id and after_order_id are mutually exclusive")
    if (after or until) and (after_seq is not None or before_seq is not None):
        raise invalid("before_order_id and after_order_id cannot be used with after and until")
    side = query.get("side")
    return OrderFilter(
        status=params.choice(query, "status", Wanted.OPEN),
        limit=params.count(query, "limit", default=LIST_LIMIT_DEFAULT, highest=LIST_LIMIT_MAX),
        after=after,
        until=until,
        after_seq=after_seq,
        before_seq=before_seq,
        direction=params.choice(query, "direction", Direction.DESC),
        side=params.choice(query, "side", Side.BUY) if side else None,
        symbols=params.symbols(query),
        nested=params.flag(query, "nested"),
    )


def _seq(order_id: str | None, exchange: Exchange) -> int | None:
    return None if order_id is None else exchange.order(order_id).seq
