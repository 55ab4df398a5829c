"""Serving the API and the metrics on this machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server

from engine.api.app import build_api
from engine.bootstrap import Engine
from engine.domain.errors import ConfigError

HOST: Final = "127.0.0.1"
STOP_WITHIN_S: Final = 5
WS_MESSAGE_MAX: Final = 16 * 1024  # a token is all that anybody sends
log = structlog.get_logger(__name__)


@contextmanager
def serve(engine: Engine) -> Iterator[None]:
    """Serve the API and the metrics on this machine while the body runs.

    Raises
    ------
    ConfigError when a port is taken
    """
    settings = engine.settings
    api = build_api(
        engine.health, supabase_url=settings.supabase_url, publishable_key=settings.supabase_publishable_key
    )
    with listen(settings.engine_api_port, "ENGINE_API_PORT") as listener:
        metrics_server, metrics_thread = _serve_metrics(settings.metrics_port)
        log.info("listening", api_port=listener.getsockname()[1], metrics_port=metrics_server.server_port)
        try:
            with serving(api, listener):
                yield
        finally:
            metrics_server.shutdown()
            metrics_server.server_close()
            metrics_thread.join()


def listen(port: int, variable: str) -> socket.socket:
    """Take a port of this machine; 0 takes any free one. Who connects from now on waits until somebody serves.

    Raises
    ------
    ConfigError when it is taken
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise _port_is_taken(port, variable) from error
    return listener


@contextmanager
def serving(api: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Serve an API from a thread of its own while the body runs."""
    config = uvicorn.Config(
        api,
        log_level="warning",
        log_config=None,  # its lines go the way of all others
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=WS_MESSAGE_MAX,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=STOP_WITHIN_S - 2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=STOP_WITHIN_S)


def _serve_metrics(port: int) -> tuple[Any, threading.Thread]:
    try:
        return start_http_server(port, addr=HOST)
    except OSError as error:
        raise _port_is_taken(port, "METRICS_PORT") from error


def _port_is_taken(port: int, variable: str) -> ConfigError:
    return ConfigError(f"port {port} is in use: stop what uses it, or set {variable} to another port (0: any free one)")
