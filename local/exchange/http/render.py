"""JSON bodies in Alpaca's shape: money and quantities as strings, times in UTC."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from local.exchange.market.assets import ASSETS, Asset
from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.market import Market, Tick
from local.exchange.trading.account import Account, Fill, Position
from local.exchange.trading.margin import Valuation
from local.exchange.trading.numbers import CENT, ZERO, plain
from local.exchange.trading.order import Order, Status


def json_response(body: object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=_dumps)


def order_body(order: Order, legs: Iterable[Order] | None = None) -> dict[str, Any]:
    """Return an order; `legs` is None where they were not asked for."""
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": utc(order.submitted_at),
        "updated_at": utc(order.updated_at),
        "submitted_at": utc(order.submitted_at),
        "filled_at": utc(order.filled_at),
        "expired_at": utc(order.expired_at),
        "expires_at": utc(order.expires_at),
        "canceled_at": utc(order.canceled_at),
        "failed_at": None,
        "replaced_at": utc(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": ASSETS[order.symbol].id,
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": plain(order.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": number(order.filled_avg_price),
        "order_class": order.order_class,
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "position_intent": order.intent,
        "time_in_force": order.time_in_force,
        "limit_price": number(order.limit_price),
        "stop_price": number(order.stop_price),
        "status": order.status,
        "extended_hours": order.extended_hours,
        "legs": [order_body(leg) for leg in legs] if legs else None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
    }


def position_body(held: Position, tick: Tick, close: Decimal, reserved: Decimal) -> dict[str, Any]:
    """Return a position; `close` is the last session's close per share."""
    value, basis = held.qty * tick.trade, held.cost_basis
    today = held.qty * (tick.trade - close)
    return asset_reference(ASSETS[held.symbol]) | {
        "asset_class": "us_equity",
        "asset_marginable": True,
        "avg_entry_price": plain(held.avg_price),
        "qty": plain(held.qty),
        "qty_available": plain((abs(held.qty) - reserved) * (1 if held.qty > 0 else -1)),
        "side": "long" if held.qty > 0 else "short",
        "market_value": plain(value),
        "cost_basis": plain(basis),
        "unrealized_pl": plain(value - basis),
        "unrealized_plpc": ratio(value - basis, abs(basis)),
        "unrealized_intraday_pl": plain(today),
        "unrealized_intraday_plpc": ratio(today, abs(held.qty * close)),
        "current_price": plain(tick.trade),
        "lastday_price": plain(close),
        "change_today": ratio(tick.trade - close, close),
    }


def account_body(account: Account, worth: Valuation) -> dict[str, Any]:
    initial, maintenance = worth.exposure / 2, worth.exposure * Decimal("0.3")
    return {
        "id": account.id,
        "account_number": f"PA{account.id.replace('-', '')[:10].upper()}",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": cents(worth.cash),
        "portfolio_value": cents(worth.equity),
        "equity": cents(worth.equity),
        "last_equity": cents(account.last_equity),
        "long_market_value": cents(worth.long_value),
        "short_market_value": cents(worth.short_value),
        "position_market_value": cents(worth.exposure),
        "initial_margin": cents(initial),
        "maintenance_margin": cents(maintenance),
        "last_maintenance_margin": cents(maintenance),
        "buying_power": cents(worth.buying_power),
        "regt_buying_power": cents(worth.buying_power_at(min(2, worth.multiplier))),
        "non_marginable_buying_power": cents(worth.buying_power_at(1)),
        "options_buying_power": "0",
        "multiplier": str(worth.multiplier),
        "sma": "0",
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": account.settings.suspend_trade,
        "shorting_enabled": not account.settings.no_shorting,
        "created_at": utc(account.created_at),
    }


def activity_body(fill: Fill) -> dict[str, Any]:
    return {
        "id": activity_id(fill),
        "activity_type": "FILL",
        "transaction_time": utc(fill.at),
        "type": "fill" if fill.leaves_qty == ZERO else "partial_fill",
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "side": fill.side,
        "symbol": fill.symbol,
        "leaves_qty": plain(fill.leaves_qty),
        "cum_qty": plain(fill.cum_qty),
        "order_id": fill.order_id,
        "order_status": Status.FILLED if fill.leaves_qty == ZERO else Status.PARTIALLY_FILLED,
    }


def activity_id(fill: Fill) -> str:
    """Return Alpaca's form of an activity id; its time part is New York's, as theirs is."""
    local = fill.at.astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}::{fill.id}"


def asset_body(asset: Asset, *, listed: bool) -> dict[str, Any]:
    return {
        "id": asset.id,
        "class": "us_equity",
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active" if listed else "inactive",
        "tradable": listed,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "shortable": listed,
        "easy_to_borrow": listed,
        "fractionable": True,
        "attributes": [],
    }


def asset_reference(asset: Asset) -> dict[str, Any]:
    return {"asset_id": asset.id, "symbol": asset.symbol, "exchange": asset.exchange}


def last_close(market: Market, symbol: str, session: int, tick: Tick) -> Decimal:
    """Return the close of the session before, or the current price on a symbol's first day."""
    close = market.close_before(symbol, session)
    return tick.trade if close is None else close


def utc(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def number(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def cents(value: Decimal) -> str:
    return plain(value.quantize(CENT))


def ratio(part: Decimal, whole: Decimal) -> str:
    return plain((part / whole).quantize(Decimal("0.000000001"))) if whole else "0"


def _dumps(body: object) -> str:
    return json.dumps(body, separators=(",", ":"))
