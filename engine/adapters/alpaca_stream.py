"""Alpaca's stream of trade updates behind the TradeUpdates port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from alpaca.trading.stream import TradingStream

PINGS: Final = {"ping_interval": 10, "ping_timeout": 20, "max_queue": 1024}
STOPS_WITHIN_S: Final = 10.0
log = structlog.get_logger(__name__)


class AlpacaTradeUpdates:
    """alpaca-py's own stream, on an event loop in a thread of its own.

    It connects again by itself, with growing delays. What is sent while it is away is never sent
    again, so a connect counts as an update. Messages stay raw: a status that alpaca-py does not
    know would make it drop the update.
    """

    def __init__(self, *, base_url: str, api_key: str, secret_key: str) -> None:
        self._keys = {"api_key": api_key, "secret_key": secret_key}
        self._url = _stream_url(base_url)
        self._stream: _Stream | None = None
        self._thread: threading.Thread | None = None

    def start(self, on_hint: Callable[[], None]) -> None:
        """Listen; call `on_hint` for every update and after every connect, from a thread of its own."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stream = _Stream(
            on_hint, url_override=self._url, websocket_params=dict(PINGS), raw_data=True, **self._keys
        )
        self._thread = threading.Thread(target=self._stream.run, name="trade_updates", daemon=True)
        self._thread.start()

    def is_connected(self) -> bool:
        return self._stream is not None and self._stream.is_up

    def reconnect(self) -> None:
        """Drop the connection, which may be deaf, and make another."""
        if self._stream is not None:
            self._stream.drop()

    def stop(self) -> None:
        """Stop listening; returns once the thread has ended, or after some seconds."""
        stream, thread = self._stream, self._thread
        if stream is None or thread is None or not thread.is_alive():
            return
        stream.end()
        thread.join(STOPS_WITHIN_S)


class _Stream(TradingStream):
    """alpaca-py's stream, with a word after each connect and a way to drop a connection."""

    _loop: Any  # set and taken away by alpaca-py
    _ws: Any

    def __init__(self, on_hint: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._on_hint = on_hint
        self.subscribe_trade_updates(self._tell)

    @property
    def is_up(self) -> bool:
        return bool(self._running and self._ws is not None and self._ws.open)

    def drop(self) -> None:
        if self._loop is not None and self._ws is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._ws.close(code=1000), self._loop)

    def end(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    async def _start_ws(self) -> None:
        await super()._start_ws()  # type: ignore[no-untyped-call]  # alpaca-py's own
        log.info("trade updates are listened to", url=self._endpoint)
        self._on_hint()

    async def _end(self) -> None:
        await self.stop_ws()
        if self._ws is not None:
            await self._ws.close()  # or it would go on listening for up to five seconds

    async def _tell(self, _: Any) -> None:
        self._on_hint()


def _stream_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    return parts._replace(scheme="wss" if parts.scheme == "https" else "ws", path="/stream").geturl()
