"""The callers of the matrices: each talks to the real PostgREST through the gateway."""

from dataclasses import dataclass
from typing import Any

import httpx

REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody with a key and perhaps a token; `user_id` is None for those who are no user."""

    name: str
    user_id: str | None
    http: httpx.Client

    def call(self, function: str, arguments: dict[str, Any]) -> httpx.Response:
        """Call a function as supabase-py does."""
        return self.http.post(f"/rpc/{function}", json=arguments)


def actor(name: str, *, url: str, key: str, token: str | None = None, user_id: str | None = None) -> Actor:
    """Return a caller."""
    headers = {"apikey": key} | ({"Authorization": f"Bearer {token}"} if token else {})
    return Actor(name, user_id, httpx.Client(base_url=f"{url}/rest/v1", headers=headers, timeout=20, trust_env=False))


def is_refusal(answer: httpx.Response) -> bool:
    """Return whether the caller was told that it has no right to this."""
    return answer.status_code in REFUSED and answer.json()["code"] in {"42501", "FORBIDDEN"}
