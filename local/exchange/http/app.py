"""The web application: one table of routes, and what surrounds them."""

from __future__ import annotations

import asyncio

from aiohttp import web

from local.exchange.http import (
    account,
    data_routes,
    market_data,
    middleware,
    orders,
    positions,
    reference,
    sim,
    sim_faults,
    stream,
)
from local.exchange.http.faults import FaultSwitch
from local.exchange.http.keys import (
    ACCESS,
    ACCOUNTS,
    CLOCK_CHANGED,
    EXCHANGE,
    FAULTS,
    LAG,
    LISTENERS,
    Access,
)
from local.exchange.http.lag import Lag
from local.exchange.http.members import welcome
from local.exchange.trading.accounts import Accounts
from local.exchange.trading.exchange import Exchange

ROUTES = [
    web.post("/v2/orders", orders.submit),
    web.get("/v2/orders", orders.list_all),
    web.delete("/v2/orders", orders.cancel_all),
    web.get("/v2/orders:by_client_order_id", orders.get_by_client_id),
    web.get("/v2/orders/{order_id}", orders.get),
    web.patch("/v2/orders/{order_id}", orders.replace),
    web.delete("/v2/orders/{order_id}", orders.cancel),
    web.get("/v2/positions", positions.list_all),
    web.delete("/v2/positions", positions.close_all),
    web.get("/v2/positions/{symbol:.+}", positions.get),
    web.delete("/v2/positions/{symbol:.+}", positions.close),
    web.get("/v2/account", account.get),
    web.get("/v2/account/configurations", account.configurations),
    web.patch("/v2/account/configurations", account.configure),
    web.get("/v2/account/activities", account.activities),
    web.get("/v2/account/activities/{kind}", account.activities),
    web.get("/v2/account/portfolio/history", account.portfolio_history),
    web.get("/v2/clock", reference.clock),
    web.get("/v2/calendar", reference.calendar),
    web.get("/v2/assets", reference.assets),
    web.get("/v2/assets/{symbol}", reference.asset),
    web.get("/v2/stocks/bars", market_data.stock_bars),
    web.get("/v2/stocks/bars/latest", market_data.latest_bars),
    web.get("/v2/stocks/quotes/latest", market_data.latest_quotes),
    web.get("/v2/stocks/trades/latest", market_data.latest_trades),
    web.get("/v2/stocks/snapshots", market_data.snapshots),
    web.get(stream.PATH, stream.stream),
    web.get("/_sim/clock", sim.clock),
    web.post("/_sim/clock", sim.set_clock),
    web.post("/_sim/step", sim.step),
    web.post("/_sim/price", sim.price),
    web.get("/_sim/faults", sim_faults.list_faults),
    web.post("/_sim/faults", sim_faults.arm_fault),
    web.delete("/_sim/faults", sim_faults.clear_faults),
    web.delete("/_sim/faults/{fault_id}", sim_faults.clear_fault),
    web.post("/_sim/halt", sim.halt),
    web.get("/_sim/profile", sim.profile),
    web.post("/_sim/profile", sim.set_profile),
    web.get("/_sim/account", sim_faults.account),
    web.patch("/_sim/account", sim_faults.control_account),
    web.get("/_sim/accounts", sim_faults.list_accounts),
    web.post("/_sim/accounts", sim_faults.open_account),
    web.post("/_sim/trade", sim_faults.trade),
    web.post("/_sim/orders/{order_id}/status", sim_faults.force_status),
    web.get("/_sim/ledger", sim.ledger),
]


def create_app(exchange: Exchange, access: Access) -> web.Application:
    """Return the application that serves `exchange` to whoever holds the keys of `access`."""
    app = web.Application(
        middlewares=[
            middleware.identify,
            middleware.authenticate,
            middleware.RateLimiter(access.rate_limit).middleware(),
            middleware.misbehave,
        ]
    )
    app[EXCHANGE] = exchange
    app[ACCESS] = access
    app[ACCOUNTS] = Accounts(exchange, access.key_id, access.secret_key)
    app[FAULTS] = FaultSwitch()
    app[CLOCK_CHANGED] = asyncio.Event()
    app[LISTENERS] = stream.Listeners(app[FAULTS])
    app[LAG] = Lag(app[FAULTS])
    for member in app[ACCOUNTS]:
        welcome(app, member)
    app.on_shutdown.append(app[LISTENERS].close)
    app.on_cleanup.append(_close_accounts)
    app.add_routes(ROUTES)
    data_routes.add_to(app)
    return app


async def _close_accounts(app: web.Application) -> None:
    app[ACCOUNTS].close()
