"""Who is calling: known by the token alone, and what it may do is the database's to say."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from db.client import sign_in_client
from db.errors import NotSignedIn

CLIENTS_KEPT: Final = 64
# What a person's token looks like; nothing else is worth a client, or may go into a header.
_TOKEN: Final = re.compile(r"[\w-]{2,4000}\.[\w-]{2,4000}\.[\w-]{2,4000}", re.ASCII)


@dataclass(frozen=True)
class Caller:
    """A signed-in user's client."""

    client: Any


GetCaller = Callable[..., Caller]


class Callers:
    """Clients by token: making one costs 30 ms."""

    def __init__(self, supabase_url: str, publishable_key: str) -> None:
        self._client_of = lru_cache(maxsize=CLIENTS_KEPT)(
            lambda token: sign_in_client(supabase_url, publishable_key, token)
        )

    def of(self, token: str | None) -> Caller:
        """Return the caller that a token speaks for. Whether it is genuine shows at the first call.

        Raises
        ------
        NotSignedIn when there is none, or it is no token at all
        """
        if token is None:
            hint = "Send Authorization: Bearer <access token>."
            raise NotSignedIn("A token is required.", code="NOT_SIGNED_IN", hint=hint)
        if not _TOKEN.fullmatch(token):
            hint = "Send the access token that signing in gave you."
            raise NotSignedIn("This is no access token.", code="NOT_SIGNED_IN", hint=hint)
        return Caller(self._client_of(token))


def token_ends_at(token: str) -> datetime | None:
    """Return when a token says that it ends; None when it does not say so. It is not verified here."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (ValueError, LookupError, TypeError, OverflowError, OSError, RecursionError):
        return None
