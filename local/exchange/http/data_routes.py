"""The routes of market data, reference data, watchlists and news beside those of `app`."""

from __future__ import annotations

from aiohttp import web

from local.exchange.http import corporate_actions, crypto_data, market_data, news, sim_market, watchlists
from local.exchange.http.keys import EXCHANGE
from local.exchange.http.shelf import Shelf

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
    web.get("/v1beta1/news", news.news),
    web.get("/v1/corporate-actions", corporate_actions.actions),
    web.get("/v2/corporate_actions/announcements", corporate_actions.announcements),
    web.get("/v2/corporate_actions/announcements/{announcement_id}", corporate_actions.announcement),
    web.get("/v2/watchlists", watchlists.list_all),
    web.post("/v2/watchlists", watchlists.create),
    web.get("/v2/watchlists/{watchlist_id}", watchlists.get),
    web.put("/v2/watchlists/{watchlist_id}", watchlists.update),
    web.post("/v2/watchlists/{watchlist_id}", watchlists.add),
    web.delete("/v2/watchlists/{watchlist_id}", watchlists.delete),
    web.delete("/v2/watchlists/{watchlist_id}/{symbol:.+}", watchlists.remove),
    web.post("/_sim/news", news.add),
    web.post("/_sim/jump", sim_market.jump),
]


def add_to(app: web.Application) -> None:
    """Let `app` answer these routes, too."""
    app[watchlists.SHELF] = Shelf(app[EXCHANGE].ledger.store.path.parent / "shelf.sqlite")
    app.on_cleanup.append(_close_shelf)
    app.add_routes(ROUTES)


async def _close_shelf(app: web.Application) -> None:
    app[watchlists.SHELF].close()
