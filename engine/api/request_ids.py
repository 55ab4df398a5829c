"""Each HTTP call has an id, the caller's own or a new one: in the answer, and in every line logged under the call."""

import re
from typing import Final
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

HEADER: Final = b"x-request-id"
WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
FAILED_FROM: Final = 400
log = structlog.get_logger(__name__)


class RequestIds:
    """The outermost layer: what refuses a call early has its id as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = dict(scope["headers"]).get(HEADER, b"")
        request_id = asked if WELL_FORMED.fullmatch(asked) else str(uuid4()).encode()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (HEADER, request_id)]
                _note(scope, message["status"])
            await send(message)

        with bound_contextvars(request_id=request_id.decode()):
            await self._app(scope, receive, answer)


def _note(scope: Scope, status: int) -> None:
    """Log what changes something or was refused; of an address only its path, which holds no credential."""
    if scope["method"] != "GET" or status >= FAILED_FROM:
        log.info("answered", method=scope["method"], path=scope["path"], status=status)
