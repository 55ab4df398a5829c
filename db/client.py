"""Supabase clients: as a signed-in user, as the engine, and for signing in.

Every client is its own: none is shared between users, and none refreshes tokens on its own, since
that would keep a timer and a user's tokens alive behind the caller's back.
"""

import ssl
from functools import cache

import httpx
from supabase import Client, ClientOptions, create_client

TIMEOUT_S = httpx.Timeout(5.0, connect=3.0)


def _options() -> ClientOptions:
    return ClientOptions(
        auto_refresh_token=False,
        persist_session=False,
        postgrest_client_timeout=TIMEOUT_S,
        httpx_client=httpx.Client(timeout=TIMEOUT_S, follow_redirects=True, trust_env=False, verify=trusted()),
    )


@cache
def trusted() -> ssl.SSLContext:
    """Return the authorities that are trusted: one for all clients, since it takes most of a client's memory."""
    return httpx.create_ssl_context()


def auth_client(url: str, publishable_key: str) -> Client:
    """Return a client that only signs users in, refreshes their tokens and signs them out."""
    return create_client(url, publishable_key, _options())


def sign_in_client(url: str, publishable_key: str, access_token: str) -> Client:
    """Return a client that acts with one user's token; row-level security decides what it sees."""
    client = create_client(url, publishable_key, _options())
    client.postgrest.auth(access_token)
    return client


def renew_token(client: Client, access_token: str) -> None:
    """Let a signed-in client go on with a fresh token, wherever it is held already."""
    client.postgrest.auth(access_token)


def engine_client(url: str, secret_key: str) -> Client:
    """Return the engine's client. Only the engine's process holds the secret key."""
    return create_client(url, secret_key, _options())
