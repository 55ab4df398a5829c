"""What the Alpaca adapters share: a tamed alpaca-py client, its errors in our words, its values in ours."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient

from engine.adapters.alpaca_posts import Posts
from engine.adapters.alpaca_rate import AlpacaRateLimit
from engine.domain.errors import BrokerRefused, BrokerUnavailable

TIMEOUT_S: Final = 3.0
_LAST = threading.local()
log = structlog.get_logger(__name__)


def tame(client: RESTClient, base_url: str, rate: AlpacaRateLimit | None = None) -> None:
    """Give every call a timeout, hold it to the rate limit, and take alpaca-py's own retries away.

    alpaca-py waits for ever, and sends an order up to four times on 504 and 429. It offers no
    parameter for either, so its session and its counters are changed after construction.
    """
    client._retry = 0
    client._retry_codes = []
    session = client._session
    # A proxy from the environment would swallow calls to this machine.
    session.trust_env = urlsplit(base_url).hostname not in ("127.0.0.1", "localhost")
    session.request = _guarded(session, rate)  # type: ignore[method-assign]  # no other hook


def last_request_id() -> str | None:
    """Return the X-Request-ID of this thread's last answer, for the broker's support."""
    return getattr(_LAST, "request_id", None)


@contextmanager
def urgent() -> Iterator[None]:
    """Let this thread's calls use what is kept of the rate limit for exits and cancels."""
    before, _LAST.urgent = getattr(_LAST, "urgent", False), True
    try:
        yield
    finally:
        _LAST.urgent = before


@contextmanager
def read_errors(passing: Collection[int] = (404,)) -> Iterator[None]:
    """Translate what a call may raise; `passing` statuses stay an APIError for the caller to judge."""
    try:
        yield
    except APIError as error:
        status = status_of(error)
        if status in passing:
            raise
        if status in (401, 403):
            raise BrokerRefused(
                "Alpaca does not accept the keys: check ALPACA_API_KEY and ALPACA_SECRET_KEY."
            ) from error
        raise BrokerUnavailable(f"Alpaca answered {status}") from error
    except (requests.RequestException, TypeError, KeyError, ArithmeticError, ValueError) as error:
        # An empty or unreadable 200 counts as no answer; ValueError covers bad JSON and bad times.
        raise BrokerUnavailable(f"no usable answer from Alpaca: {type(error).__name__}") from error


def status_of(error: APIError) -> int | None:
    """Return the HTTP status; APIError itself may hold none."""
    status = error.status_code
    return status if isinstance(status, int) else None


def code_and_message(error: APIError) -> tuple[str | None, str]:
    """Return the body's code and message; a body without them, or HTML, must not hide the error."""
    text = str(error)
    try:
        body = json.loads(text)
    except ValueError:
        return None, text[:200]
    if not isinstance(body, Mapping):
        return None, text[:200]
    code = body.get("code")
    return (None if code is None else str(code)), str(body.get("message", text[:200]))


def decimal(value: Any) -> Decimal:
    """Read a number that the wire carries as text or as a JSON number."""
    return Decimal(str(value))


def maybe_decimal(value: Any) -> Decimal | None:
    return None if value is None else decimal(value)


def moment(text: str) -> datetime:
    """Read an RFC 3339 time; nanoseconds are cut to microseconds."""
    return datetime.fromisoformat(text)


def _guarded(session: requests.Session, rate: AlpacaRateLimit | None) -> Callable[..., requests.Response]:
    call, posts = session.request, Posts(session)

    def send(method: str, url: str, **options: Any) -> requests.Response:
        if method != "POST" or session.cookies:  # what sets cookies may want them back
            return call(method, url, timeout=TIMEOUT_S, **options)
        return posts.send(url, body=options["json"], headers=options["headers"], timeout_s=TIMEOUT_S)

    def request(method: str, url: str, **options: Any) -> requests.Response:
        _LAST.request_id = None
        if rate is not None:
            rate.take(urgent=getattr(_LAST, "urgent", False))
        began_s = time.perf_counter()
        response = send(method, url, **options)
        _LAST.request_id = response.headers.get("X-Request-ID")
        if rate is not None:
            rate.note(response.status_code, response.headers)
        noted = log.info if method != "GET" or response.status_code >= 500 else log.debug
        noted(
            "broker answered",
            method=method,
            path=urlsplit(url).path,
            status=response.status_code,
            request_id=_LAST.request_id,
            took_ms=round((time.perf_counter() - began_s) * 1000),
        )
        return response

    return request
