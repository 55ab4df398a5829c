"""Start the gateway on a listening socket that is already ours."""

import os
import socket
import sys

import httpx

from local import postgres, postgrest
from local.auth.settings import Settings
from local.home import Home, Keys
from local.migrations import ROOT
from local.processes import Child


def start(home: Home, keys: Keys, listening: socket.socket) -> Child:
    """Start the gateway and wait until it answers. The socket is handed over: it is closed here."""
    url = address(listening)
    settings = Settings(
        listen_fd=listening.fileno(),
        url=url,
        rest_socket=postgrest.socket_path(home),
        database_url=postgres.url(home, "supabase_auth_admin"),
        publishable_key=keys.publishable_key,
        secret_key=keys.secret_key,
        jwt_secret=keys.jwt_secret,
        refresh_secret=keys.refresh_secret,
    )
    with listening:
        child = Child(
            "The gateway",
            [sys.executable, "-m", "local.auth"],
            log=home.logs / "gateway.log",
            environment=os.environ | settings.environment() | {"PYTHONPATH": str(ROOT)},
            pass_fds=[listening.fileno()],
        )
    try:
        child.wait_until(lambda: answers(f"{url}/auth/v1/health"), timeout_s=20)
    except BaseException:
        child.stop()
        raise
    return child


def address(listening: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{host}:{port}"


def answers(url: str, *, headers: dict[str, str] | None = None, status_max: int = 299) -> bool:
    """Return whether a GET is answered with a status up to `status_max`."""
    try:
        response = httpx.get(url, headers=headers, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.status_code <= status_max
