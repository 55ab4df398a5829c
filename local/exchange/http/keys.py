"""Typed keys of what the web application carries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from local.exchange.http.faults import FaultSwitch
from local.exchange.trading.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in: the account's key pair, and the simulator's own token (None: nobody)."""

    key_id: str
    secret_key: str
    admin_token: str | None = None
    rate_limit: int = 0  # requests a minute; 0 is no limit


EXCHANGE = web.AppKey("exchange", Exchange)
ACCESS = web.AppKey("access", Access)
FAULTS = web.AppKey("faults", FaultSwitch)
CLOCK_CHANGED = web.AppKey("clock_changed", asyncio.Event)
