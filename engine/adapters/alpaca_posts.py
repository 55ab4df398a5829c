"""Orders on the shortest way to the broker."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import requests
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_encoding_from_headers, select_proxy

from db.wire import Answer, Headers, Wire


@dataclass(frozen=True, slots=True)
class _Way:
    """What all posts to an address have in common."""

    url: str
    told: Mapping[str, str]  # the headers that the caller gave
    timeout_s: float
    headers: Headers
    target: bytes
    wire: Wire


class Posts:
    """Posts JSON as a session does, with its headers and certificates, but finds the way only once.

    Orders differ in their body alone, and a session takes half of its time to get everything else ready. Where there is
    a proxy, or certificates of one's own, the session itself posts.
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
        if way is None or way.url != url or way.told != headers or way.timeout_s != timeout_s:
            session = self._session
            request = session.prepare_request(requests.Request("POST", url, headers=headers, json=body))
            settings = session.merge_environment_settings(request.url, {}, None, None, None)
            if select_proxy(url, settings["proxies"]) or settings["verify"] is not True or settings["cert"]:
                return session.send(request, timeout=timeout_s, allow_redirects=False, **settings)
            way = self._way = _way(url, headers, timeout_s, request)
        try:
            answer = way.wire.post(way.target, way.headers, json.dumps(body, allow_nan=False).encode())
            return _response(url, answer)
        except httpx.HTTPError as error:
            raise _in_requests_words(error) from error


def _way(url: str, told: Mapping[str, str], timeout_s: float, request: requests.PreparedRequest) -> _Way:
    address = httpx.URL(url)
    common = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers.items()
        if name not in ("Content-Length", "Content-Type")
    ]
    wire = Wire(address, _trusted(), connect_s=timeout_s, read_s=timeout_s)
    return _Way(url, told, timeout_s, [(b"Host", address.netloc), *common], address.raw_path, wire)


@cache
def _trusted() -> ssl.SSLContext:
    """Return the authorities that requests trusts."""
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)


def _response(url: str, answer: Answer) -> requests.Response:
    """Return an answer as requests does."""
    response = requests.Response()
    response.url = url
    response.status_code = answer.status
    response.reason = answer.reason.decode("latin-1")
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    response.headers = CaseInsensitiveDict(told)
    response.encoding = get_encoding_from_headers(response.headers)
    response._content = answer.content()  # read already
    return response


def _in_requests_words(error: httpx.HTTPError) -> requests.RequestException:
    if isinstance(error, httpx.ReadTimeout):
        return requests.ReadTimeout(error)
    if isinstance(error, httpx.ConnectTimeout):
        return requests.ConnectTimeout(error)
    return requests.ConnectionError(error)
