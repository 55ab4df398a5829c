"""The routes of market data, reference data, watchlists and news beside those of `app`."""

from __future__ import annotations

from aiohttp import web

from local.exchange.http import crypto_data, market_data

ROUTES = [
    web.get("/v2/stocks/quotes", market_data.stock_quotes),
    web.get("/v2/stocks/trades", market_data.stock_trades),
    web.get("/v1beta3/crypto/{location}/bars", crypto_data.bars),
    web.get("/v1beta3/crypto/{location}/quotes", crypto_data.quotes),
    web.get("/v1beta3/crypto/{location}/trades", crypto_data.trades),
    web.get("/v1beta3/crypto/{location}/snapshots", crypto_data.snapshots),
    web.get("/v1beta3/crypto/{location}/latest/bars", crypto_data.latest_bars),
    web.get("/v1beta3/crypto/{location}/latest/quotes", crypto_data.latest_quotes),
    web.get("/v1beta3/crypto/{location}/latest/trades", crypto_data.latest_trades),
    web.get("/v1beta3/crypto/{location}/latest/orderbooks", crypto_data.latest_orderbooks),
]


def add_to(app: web.Application) -> None:
    """Let `app` answer these routes, too."""
    app.add_routes(ROUTES)
