"""What the web application carries, and who may come in."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from local.exchange.http.faults import FaultSwitch
from local.exchange.trading.accounts import Accounts, Member, digest
from local.exchange.trading.exchange import Exchange

if TYPE_CHECKING:
    from local.exchange.http.lag import Lag
    from local.exchange.http.stream import Listeners


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in: the account's key pair, and the simulator's own token (None: nobody)."""

    key_id: str
    secret_key: str
    admin_token: str | None = None
    rate_limit: int = 0  # requests a minute; 0 is no limit


# The first account's exchange: its market and its clock are those of all accounts.
EXCHANGE = web.AppKey("exchange", Exchange)
ACCOUNTS = web.AppKey("accounts", Accounts)
ACCESS = web.AppKey("access", Access)
FAULTS = web.AppKey("faults", FaultSwitch)
CLOCK_CHANGED = web.AppKey("clock_changed", asyncio.Event)
LISTENERS: web.AppKey[Listeners] = web.AppKey("listeners")
LAG: web.AppKey[Lag] = web.AppKey("lag")

_MEMBER = web.RequestKey("member", Member)


def member_of(accounts: Accounts, key_id: str, secret_key: str) -> Member | None:
    """Return the account that a key pair opens; it takes as long to say no as to say yes."""
    member = accounts.get(key_id)
    expected = member.secret_digest if member else digest("")
    return member if same_text(digest(secret_key), expected) and member else None


def admit(request: web.Request, member: Member) -> None:
    """Let a request act for an account."""
    request[_MEMBER] = member


def member(request: web.Request) -> Member:
    """Return the account that a request acts for."""
    return request[_MEMBER]


def exchange_of(request: web.Request) -> Exchange:
    return member(request).exchange


def same_text(given: str, expected: str) -> bool:
    """Compare secrets in a time that tells nothing about them."""
    return hmac.compare_digest(given.encode(), expected.encode())
