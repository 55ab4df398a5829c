"""Whose rows a caller sees, said in the question itself: for speed alone.

Row-level security is the lock, and stays it. But its condition, "the caller's own, or all for staff", is an `or`
that keeps the planner from the owner's index. A question that names the owner as well is answered by that index.
"""

import time
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

import jwt
from supabase import Client

from db.queries._frames import Request, rows

KNOWN_FOR_S = 30.0  # after a promotion, lists show the caller's own rows alone for so long

_STAFF = ("admin", "operator")


@dataclass(frozen=True)
class _Known:
    authorization: str
    owner: UUID | None
    until_s: float


_known: "WeakKeyDictionary[Client, _Known]" = WeakKeyDictionary()


def owners_rows(request: Request, client: Client) -> Request:
    """Narrow a question to the caller's own rows, unless the caller sees those of others too."""
    owner = own_user(client)
    return request.eq("owner_id", str(owner)) if owner else request


def own_user(client: Client) -> UUID | None:
    """Return the id that a caller's rows carry as owner; None for staff and for the engine, who see all rows.

    It is kept for KNOWN_FOR_S per client and token, so never from one user to another.
    """
    authorization = client.postgrest.headers.get("Authorization", "")
    known = _known.get(client)
    if known is None or known.authorization != authorization or known.until_s <= time.monotonic():
        known = _Known(authorization, _owner(client, authorization), time.monotonic() + KNOWN_FOR_S)
        _known[client] = known
    return known.owner


def _owner(client: Client, authorization: str) -> UUID | None:
    user = _user(authorization)
    if user is None:
        return None
    found = rows(client.table("members").select("role").eq("user_id", str(user)))
    return None if found and found[0]["role"] in _STAFF else user


def _user(authorization: str) -> UUID | None:
    """Return whom a token speaks for. It is not verified here: PostgREST does that with every question."""
    try:
        claims = jwt.decode(authorization.removeprefix("Bearer "), options={"verify_signature": False})
        return UUID(claims["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError):
        return None
