"""Calls of the database's functions past the layers of supabase-py: what it would send, to the byte.

The client keeps the address, the keys and the token.
"""

from typing import Final
from weakref import WeakKeyDictionary

import httpx
from supabase import Client

from db.client import trusted
from db.wire import Answer, Headers, Wire


class Posts:
    """Posts a client's calls as its own session would, from any number of threads."""

    def __init__(self, session: httpx.Client, url: httpx.URL) -> None:
        timeout = session.timeout
        self._wire = Wire(url, trusted(), connect_s=timeout.connect, read_s=timeout.read)
        self._path = url.raw_path.rstrip(b"/")
        self._common = [(b"Host", url.netloc), *session.headers.raw]

    def send(self, client: Client, function: str, body: bytes) -> Answer:
        """Post once, whatever comes of it, and return the answer; redirects are not followed.

        Raises
        ------
        httpx.TransportError when there is no complete answer
        """
        return self._wire.post(b"%b/rpc/%b" % (self._path, function.encode("ascii")), self._headers(client), body)

    def _headers(self, client: Client) -> Headers:
        # The token is changed while others call: read once, at every call.
        return [*self._common, *client.postgrest.headers.raw]


KNOWN: Final[WeakKeyDictionary[Client, Posts]] = WeakKeyDictionary()  # a test may give a client another way to go


def posts_of(client: Client) -> Posts:
    """Return what posts a client's calls: the same as long as the client lives, with the connections that it keeps."""
    found = KNOWN.get(client)
    if found is None:
        postgrest = client.postgrest
        found = KNOWN.setdefault(client, Posts(postgrest.session, httpx.URL(str(postgrest.base_url))))
    return found
