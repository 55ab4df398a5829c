"""Routes under `/v2/watchlists`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from local.exchange.http import params
from local.exchange.http.keys import exchange_of
from local.exchange.http.reference import asset_row
from local.exchange.http.render import json_response, utc
from local.exchange.http.shelf import NameTaken, Shelf, Watchlist
from local.exchange.market.assets import find_among
from local.exchange.trading.errors import invalid, not_found
from local.exchange.trading.exchange import Exchange

SHELF = web.AppKey("shelf", Shelf)
NAME_LENGTH_MAX = 64


async def list_all(request: web.Request) -> web.Response:
    """List the account's watchlists, without what is on them."""
    found = request.app[SHELF].watchlists(exchange_of(request).account.id)
    return json_response([_body(each) for each in found])


async def create(request: web.Request) -> web.Response:
    exchange, body = exchange_of(request), await params.json_body(request)
    now = exchange.ledger.now
    new = Watchlist(
        id=str(uuid4()),
        account_id=exchange.account.id,
        name=_name(body),
        symbols=_symbols(exchange, body),
        created_at=now,
        updated_at=now,
    )
    return _keep(request, new)


async def get(request: web.Request) -> web.Response:
    return json_response(_full_body(exchange_of(request), _found(request)))


async def update(request: web.Request) -> web.Response:
    """Give a list a new name, new symbols or both; what is not named stays."""
    exchange, body, old = exchange_of(request), await params.json_body(request), _found(request)
    name = _name(body) if body.get("name") is not None else old.name
    symbols = _symbols(exchange, body) if body.get("symbols") is not None else old.symbols
    return _keep(request, replace(old, name=name, symbols=symbols, updated_at=exchange.ledger.now))


async def add(request: web.Request) -> web.Response:
    exchange, body, old = exchange_of(request), await params.json_body(request), _found(request)
    symbol = _known(exchange, body.get("symbol"))
    if symbol in old.symbols:
        raise invalid(f"duplicate symbol: {symbol}")
    return _keep(request, replace(old, symbols=(*old.symbols, symbol), updated_at=exchange.ledger.now))


async def remove(request: web.Request) -> web.Response:
    exchange, old = exchange_of(request), _found(request)
    symbol = _known(exchange, request.match_info["symbol"])
    if symbol not in old.symbols:
        raise not_found(f"symbol not found: {symbol}")
    rest = tuple(each for each in old.symbols if each != symbol)
    return _keep(request, replace(old, symbols=rest, updated_at=exchange.ledger.now))


async def delete(request: web.Request) -> web.Response:
    request.app[SHELF].drop(_found(request))
    return web.Response(status=204)


def _keep(request: web.Request, kept: Watchlist) -> web.Response:
    try:
        request.app[SHELF].put(kept)
    except NameTaken as error:
        raise invalid("watchlist name must be unique") from error
    return json_response(_full_body(exchange_of(request), kept))


def _found(request: web.Request) -> Watchlist:
    try:
        id = str(UUID(request.match_info["watchlist_id"]))
    except ValueError:
        raise invalid("watchlist_id must be a valid uuid") from None
    found = request.app[SHELF].watchlist(exchange_of(request).account.id, id)
    if found is None:
        raise not_found(f"watchlist not found for {id}")
    return found


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise invalid(f"watchlist name must be 1 to {NAME_LENGTH_MAX} characters long")
    return name


def _symbols(exchange: Exchange, body: dict[str, Any]) -> tuple[str, ...]:
    """Return the symbols of a list, each once, in the order they are given."""
    symbols = body.get("symbols") or []
    if not isinstance(symbols, list):
        raise invalid("symbols must be a list")
    return tuple(dict.fromkeys(_known(exchange, symbol) for symbol in symbols))


def _known(exchange: Exchange, symbol: object) -> str:
    found = find_among(exchange.market.tape.assets, symbol) if isinstance(symbol, str) else None
    if found is None:
        raise invalid(f"asset not found: {symbol or ''}")
    return found.symbol


def _body(kept: Watchlist) -> dict[str, Any]:
    return {
        "id": kept.id,
        "account_id": kept.account_id,
        "created_at": utc(kept.created_at),
        "updated_at": utc(kept.updated_at),
        "name": kept.name,
    }


def _full_body(exchange: Exchange, kept: Watchlist) -> dict[str, Any]:
    return _body(kept) | {"assets": list(_assets(exchange, kept.symbols))}


def _assets(exchange: Exchange, symbols: Iterable[str]) -> Iterable[dict[str, Any]]:
    # A list may outlive the symbols on it: with other bars, some are not there any more.
    assets = exchange.market.tape.assets
    return (asset_row(exchange, assets[symbol]) for symbol in symbols if symbol in assets)
