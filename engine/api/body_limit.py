"""No body larger than a megabyte is read."""

from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.api.errors import problem

BODY_MAX: Final = 1024 * 1024


class BodyLimit:
    """Refuse a body by its announced length, or as soon as it has grown too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(receive, _announced(scope))
        except ClientDisconnect:  # what has come may be half a request: it is not acted on
            return
        if body is None:
            hint = "Send less: no call here needs as much."
            await problem(413, "CONTENT_TOO_LARGE", "The body is larger than a megabyte.", hint)(scope, receive, send)
            return
        await self._app(scope, _Replayed(body, receive), send)


class _Replayed:
    """Gives a body that was read already, then whatever comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._first: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        first, self._first = self._first, None
        return first or await self._receive()


def _announced(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


async def _read(receive: Receive, announced: int) -> bytes | None:
    """Return the whole body, or None when it is too large.

    Raises
    ------
    ClientDisconnect
    """
    if announced > BODY_MAX:
        return None
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += bytes(message.get("body", b""))
        if len(body) > BODY_MAX:
            return None
        if not message.get("more_body", False):
            return body
