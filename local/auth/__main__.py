"""Run the gateway on the listening socket that its starter handed over."""

import asyncio
import os
import signal

import uvloop
from aiohttp import web

from local.auth.door import IDLE_MAX_S
from local.auth.gateway import build
from local.auth.settings import Settings
from local.auth.site import STOP_WITHIN_S, DoorSite


def main() -> None:
    """Serve until SIGTERM."""
    uvloop.run(_serve(Settings.from_environment(os.environ)))


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    app, roles = build(settings)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_MAX_S, shutdown_timeout=STOP_WITHIN_S)
    await runner.setup()
    try:
        await DoorSite(runner, settings, roles).start()
        await stopping.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
