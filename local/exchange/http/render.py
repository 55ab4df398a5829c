"""JSON bodies in Alpaca's shape: money and quantities as strings, times in UTC."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web

from local.exchange.market.assets import Asset, find_asset
from local.exchange.market.calendar import NEW_YORK
from local.exchange.market.market import Market, Tick
from local.exchange.trading.account import Account, Fill, Position, Split
from local.exchange.trading.controls import Controls
from local.exchange.trading.margin import Valuation
from local.exchange.trading.numbers import CENT, ZERO, plain
from local.exchange.trading.order import Order, Side, Status, is_crypto

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def json_response(body: object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=_dumps)


def list_response(texts: Iterable[str]) -> web.Response:
    """Answer with bodies that are JSON already."""
    return web.json_response(text=f"[{','.join(texts)}]")


def order_text(order: Order) -> str:
    return _dumps(order_body(order))


def order_body(order: Order, legs: Iterable[Order] | None = None) -> dict[str, Any]:
    """Return an order; `legs` is None where they were not asked for."""
    submitted_at = _order_time(order.submitted_at)
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": submitted_at,
        "updated_at": _order_time(order.updated_at),
        "submitted_at": submitted_at,
        "filled_at": _order_time(order.filled_at),
        "expired_at": _order_time(order.expired_at),
        "expires_at": _order_time(order.expires_at),
        "canceled_at": _order_time(order.canceled_at),
        "failed_at": _order_time(order.failed_at),
        "replaced_at": _order_time(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": asset_class(order.symbol),
        "notional": number(order.notional),
        "qty": None if order.notional is not None else plain(order.qty),
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
        "trail_percent": number(order.trail_percent),
        "trail_price": number(order.trail_price),
        "hwm": number(order.hwm),
        "subtag": None,
        "source": None,
    }


def position_body(held: Position, tick: Tick, close: Decimal, reserved: Decimal) -> dict[str, Any]:
    """Return a position; `close` is the last session's close per share."""
    value, basis = held.qty * tick.trade, held.cost_basis
    today = held.qty * (tick.trade - close)
    return {
        "asset_id": asset_id(held.symbol),
        "symbol": held.symbol.replace("/", ""),
        "exchange": exchange_of(held.symbol),
        "asset_class": asset_class(held.symbol),
        "asset_marginable": not is_crypto(held.symbol),
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


def account_body(account: Account, worth: Valuation, controls: Controls) -> dict[str, Any]:
    initial, maintenance = worth.exposure / 2, worth.exposure * Decimal("0.3")
    return {
        "id": account.id,
        "account_number": f"PA{account.id.replace('-', '')[:10].upper()}",
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
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
        "trading_blocked": controls.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": controls.account_blocked,
        "trade_suspended_by_user": account.settings.suspend_trade,
        "shorting_enabled": not (account.settings.no_shorting or controls.shorting_disabled),
        "created_at": utc(account.created_at),
    }


def activity_body(fill: Fill) -> dict[str, Any]:
    return {
        "id": activity_id(fill.at, fill.id),
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


def fee_body(fill: Fill) -> dict[str, Any]:
    """Return the fee of a crypto fill: coins of a purchase, dollars of a sale."""
    bought = fill.side is Side.BUY
    return {
        "id": activity_id(fill.at, _neighbour(fill.id)),
        "activity_type": "CFEE",
        "date": f"{fill.at.astimezone(NEW_YORK):%Y-%m-%d}",
        "net_amount": "0" if bought else plain(-fill.fee),
        "description": "Coin Pair Transaction Fee (Non USD)" if bought else "Coin Pair Transaction Fee (USD)",
        "symbol": fill.symbol.replace("/", ""),
        "qty": plain(-fill.fee) if bought else "0",
        "price": plain(fill.price),
        "status": "executed",
    }


def _neighbour(fill_id: str) -> str:
    """Return another id that leads back to the same fill: the last digit differs in one bit."""
    return f"{fill_id[:-1]}{int(fill_id[-1], 16) ^ 1:x}"


def split_body(split: Split) -> dict[str, Any]:
    return {
        "id": activity_id(split.at, f"split-{split.seq}"),
        "activity_type": "SPLIT",
        "date": f"{split.at.astimezone(NEW_YORK):%Y-%m-%d}",
        "net_amount": "0",
        "description": f"{split.ratio} for 1 forward split",
        "symbol": split.symbol,
        "status": "executed",
    }


def activity_id(at: datetime, name: str) -> str:
    """Return Alpaca's form of an activity id; its time part is New York's, as theirs is."""
    local = at.astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}::{name}"


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


@lru_cache(maxsize=1024)
def asset_id(symbol: str) -> str:
    asset = find_asset(symbol)
    return asset.id if asset else str(uuid5(NAMESPACE_URL, symbol))


def exchange_of(symbol: str) -> str:
    asset = find_asset(symbol)
    return asset.exchange if asset else "CRYPTO" if is_crypto(symbol) else "NASDAQ"


def asset_class(symbol: str) -> str:
    return "crypto" if is_crypto(symbol) else "us_equity"


def last_close(market: Market, symbol: str, session: int, tick: Tick) -> Decimal:
    """Return the close of the session before, or the current price on a symbol's first day."""
    close = market.close_before(symbol, session)
    return tick.trade if close is None else close


def utc(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


# Orders share times, and are shown again and again. Equal times of two zones would be taken for one
# another: those of orders are all UTC.
_order_time = lru_cache(maxsize=4096)(utc)


def number(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def cents(value: Decimal) -> str:
    return plain(value.quantize(CENT))


def ratio(part: Decimal, whole: Decimal) -> str:
    return plain((part / whole).quantize(Decimal("0.000000001"))) if whole else "0"
