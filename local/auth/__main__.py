"""Run the gateway on the listening socket that its starter handed over."""

import os
import socket

import uvloop
from aiohttp import web

from local.auth.gateway import build
from local.auth.settings import Settings


def main() -> None:
    """Serve until SIGTERM."""
    settings = Settings.from_environment(os.environ)
    web.run_app(
        build(settings),
        sock=socket.socket(fileno=settings.listen_fd),
        access_log=None,
        print=None,
        shutdown_timeout=0.5,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
