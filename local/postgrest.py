"""PostgREST, on a unix socket that only the gateway uses."""

import os
import socket
from pathlib import Path

from local import postgres
from local.home import Home
from local.processes import Child

# Twice the cores and no more: further connections would only take turns, each learning the functions anew.
POOL_SIZE = max(4, 2 * (os.cpu_count() or 2))
ROWS_MAX = 1000  # as on a hosted project, so that code which forgets to page is found here


def start(home: Home, program: Path, jwt_secret: str) -> Child:
    """Start PostgREST and wait until it has read the schema."""
    socket_file = socket_path(home)
    socket_file.unlink(missing_ok=True)
    settings = {
        "PGRST_DB_URI": postgres.url(home, "authenticator"),
        "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_POOL": str(POOL_SIZE),
        "PGRST_DB_MAX_ROWS": str(ROWS_MAX),
        "PGRST_JWT_SECRET": jwt_secret,
        "PGRST_JWT_AUD": "authenticated",
        "PGRST_JWT_CACHE_MAX_LIFETIME": "3600",
        "PGRST_SERVER_UNIX_SOCKET": str(socket_file),
        "PGRST_SERVER_UNIX_SOCKET_MODE": "600",
        "PGRST_LOG_LEVEL": "error",
    }
    environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"} | settings
    child = Child("PostgREST", [str(program)], log=home.logs / "postgrest.log", environment=environment)
    try:
        child.wait_until(lambda: _answers(socket_file), timeout_s=30)
    except BaseException:
        child.stop()
        raise
    return child


def socket_path(home: Home) -> Path:
    """Return the unix socket that PostgREST listens on."""
    return home.sockets / "rest.sock"


def _answers(socket_file: Path) -> bool:
    """True once a request is answered with anything but "not ready" (503)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(socket_file))
            connection.sendall(b"HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = connection.recv(64)
        except OSError:
            return False
    return answer.startswith(b"HTTP/1.") and b" 503 " not in answer
