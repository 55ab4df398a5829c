"""Accounts of a test's own, so that no test can end another one's sign-in."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from supabase import Client

from tests.support.clients import plain_client


@dataclass
class Person:
    """An account that exists for one test."""

    id: str
    email: str
    password: str


@pytest.fixture
def admin_api(env: dict[str, str]) -> Client:
    """A client with the secret key."""
    return plain_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"])


@pytest.fixture
def client(env: dict[str, str]) -> Client:
    """A client that nobody has signed in to yet."""
    return plain_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])


@pytest.fixture
def person(admin_api: Client) -> Iterator[Person]:
    """A fresh account."""
    email, password = f"{secrets.token_hex(6)}@example.org", secrets.token_urlsafe(15)
    made = admin_api.auth.admin.create_user({"email": email, "password": password, "email_confirm": True})
    yield Person(made.user.id, email, password)
    admin_api.auth.admin.delete_user(made.user.id)


@dataclass
class Http:
    """Plain requests at the gateway."""

    url: str
    key: str

    def __call__(self, method: str, path: str, *, key: str | bytes | None = None, **more: Any) -> httpx.Response:
        """Send a request with the publishable key, or with another one; an empty one is left out."""
        headers = {"apikey": self.key if key is None else key} | more.pop("headers", {})
        sent = {name: value for name, value in headers.items() if value}
        return httpx.request(method, f"{self.url}{path}", headers=sent, timeout=10, trust_env=False, **more)


@pytest.fixture
def http(env: dict[str, str]) -> Http:
    """Send plain requests to the gateway."""
    return Http(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])
