"""Orders on the shortest way to the broker that requests and urllib3 offer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError


@dataclass(frozen=True, slots=True)
class _Way:
    """What all posts to an address have in common."""

    url: str
    told: Mapping[str, str]  # the headers that the caller gave
    headers: Mapping[str, str]
    pool: HTTPConnectionPool
    target: str
    retries: Any


class Posts:
    """Posts JSON as a session does, with its headers, proxies and certificates, but finds the way only once.

    Orders differ in their body alone, and a session takes half of its time to get everything else ready.
    """

    def __init__(self, session: requests.Session) -> None:
        self._session = session
        self._way: _Way | None = None

    def send(self, url: str, *, body: Any, headers: Mapping[str, str], timeout_s: float) -> requests.Response:
        """Post once and return the answer, whatever its status; redirects are not followed.

        Raises
        ------
        requests.RequestException when there is no complete answer
        """
        way = self._way
        if way is None or way.url != url or way.told != headers:
            way = self._way = self._find_way(url, headers)
        try:
            answer = way.pool.urlopen(
                "POST",
                way.target,
                body=json.dumps(body, allow_nan=False).encode(),
                headers=way.headers,
                retries=way.retries,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=timeout_s, read=timeout_s),
            )
        except (HTTPError, OSError) as error:
            raise _in_requests_words(error) from error
        return _response(url, answer)

    def _find_way(self, url: str, headers: Mapping[str, str]) -> _Way:
        session = self._session
        request = session.prepare_request(requests.Request("POST", url, headers=headers, json={}))
        settings: Mapping[str, Any] = session.merge_environment_settings(request.url, {}, None, None, None)
        proxies, verify, cert = (settings[name] for name in ("proxies", "verify", "cert"))
        adapter = session.get_adapter(url)
        assert isinstance(adapter, HTTPAdapter), "a session has no other by itself"
        pool: Any = adapter.get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        adapter.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]  # requests' own
        common = {name: value for name, value in request.headers.items() if name != "Content-Length"}
        return _Way(url, headers, common, pool, adapter.request_url(request, proxies), adapter.max_retries)


def _response(url: str, answer: BaseHTTPResponse) -> requests.Response:
    """Return an answer as requests does."""
    response = requests.Response()
    response.url = url
    response.status_code = answer.status
    response.reason = answer.reason or ""
    response.headers = CaseInsensitiveDict(answer.headers)
    response.encoding = get_encoding_from_headers(response.headers)
    response._content = answer.data  # read already; to read it again from a stream takes as long as all of this
    return response


def _in_requests_words(error: Exception) -> requests.RequestException:
    reason = error.reason if isinstance(error, MaxRetryError) else error
    if isinstance(reason, ReadTimeoutError):
        return requests.ReadTimeout(error)
    if isinstance(reason, ConnectTimeoutError) and not isinstance(reason, NewConnectionError):
        return requests.ConnectTimeout(error)
    return requests.ConnectionError(error)
