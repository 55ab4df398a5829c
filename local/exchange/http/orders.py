"""Routes under `/v2/orders`."""

from __future__ import annotations

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.faults import Kind
from local.exchange.http.keys import LAG, exchange_of
from local.exchange.http.misbehaviour import fault_of
from local.exchange.http.render import json_response, list_response, order_body, order_text
from local.exchange.trading import interventions
from local.exchange.trading.errors import Refusal, invalid, not_found
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.listing import Direction, OrderFilter, Wanted
from local.exchange.trading.order import Order, Side

LIST_LIMIT_DEFAULT = 50
LIST_LIMIT_MAX = 500


async def submit(request: web.Request) -> web.Response:
    exchange, body = exchange_of(request), await params.json_body(request)
    fault = fault_of(request, Kind.REJECT_LATER)
    order = exchange.submit(body, rejected_after=fault.ticks if fault else None)
    request.app[LAG].note_order(order.id)
    return json_response(order_body(order, exchange.legs_of_new(order)))


async def list_all(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    wanted = _filter(request, exchange)
    orders = exchange.orders(wanted)
    if fault_of(request, Kind.READ_LAG):
        orders = [order for order in orders if not _is_hidden(request, order)]
    if wanted.nested:
        legs = exchange.legs_by_parent(orders)
        return json_response([order_body(order, legs.get(order.id)) for order in orders])
    return list_response([exchange.ledger.book.told(order, order_text) for order in orders])


async def get(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    order = exchange.order(params.order_id(request))
    if _is_hidden(request, order):
        raise not_found(f"order not found for {order.id}")
    nested = params.flag(request.query, "nested")
    return json_response(with_legs(exchange, order) if nested else order_body(order))


async def get_by_client_id(request: web.Request) -> web.Response:
    client_order_id = request.query.get("client_order_id")
    if not client_order_id:
        raise invalid("client_order_id is missing")
    exchange = exchange_of(request)
    order = exchange.order_by_client_id(client_order_id)
    if _is_hidden(request, order):
        raise not_found(f"order not found for {client_order_id}")
    return json_response(with_legs(exchange, order))


async def replace(request: web.Request) -> web.Response:
    exchange = exchange_of(request)
    fault = fault_of(request, Kind.REPLACE_PENDING)
    due = fault.ticks if fault else None
    order = exchange.replace(params.order_id(request), await params.json_body(request), due=due)
    return json_response(with_legs(exchange, order))


async def cancel(request: web.Request) -> web.Response:
    exchange, order_id = exchange_of(request), params.order_id(request)
    fault = fault_of(request, Kind.CANCEL_IGNORED, Kind.CANCEL_PENDING, Kind.CANCEL_STUCK, Kind.CANCEL_TOO_LATE)
    match fault.kind if fault else None:
        case Kind.CANCEL_IGNORED:
            exchange.order(order_id)
        case Kind.CANCEL_PENDING if fault:
            exchange.cancel_slowly(order_id, fault.ticks)
        case Kind.CANCEL_STUCK:
            exchange.cancel_slowly(order_id, None)
        case Kind.CANCEL_TOO_LATE:
            interventions.fill_now(exchange, order_id)
            exchange.cancel(order_id)
        case _:
            exchange.cancel(order_id)
    return web.Response(status=204)


async def cancel_all(request: web.Request) -> web.Response:
    answers = exchange_of(request).cancel_all()
    return json_response([cancel_body(*each) for each in answers], 207)


def _is_hidden(request: web.Request, order: Order) -> bool:
    fault = fault_of(request, Kind.READ_LAG)
    return fault is not None and request.app[LAG].hides_order(order.id, fault)


def cancel_body(order_id: str, refusal: Refusal | None) -> dict[str, object]:
    """Return one row of the answer to cancelling all orders."""
    if refusal is None:
        return {"id": order_id, "status": 200}
    return {"id": order_id, "status": refusal.status, "body": refusal.body}


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
