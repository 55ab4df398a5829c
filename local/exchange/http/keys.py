"""What the web application carries, and who may come in."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from local.exchange.http.faults import FaultSwitch
from local.exchange.trading.exchange import Exchange

if TYPE_CHECKING:
    from local.exchange.http.stream import Listeners


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
LISTENERS: web.AppKey[Listeners] = web.AppKey("listeners")


def same_text(given: str, expected: str) -> bool:
    """Compare secrets in a time that tells nothing about them."""
    return hmac.compare_digest(given.encode(), expected.encode())
