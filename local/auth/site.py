"""Listening: every connection gets a door, and all of them are closed together."""

import asyncio
import socket

from aiohttp import web

from local.auth.door import Door, House
from local.auth.lines import Lines
from local.auth.plain import PlainCalls
from local.auth.roles import Roles
from local.auth.settings import Settings

STOP_WITHIN_S = 0.5
TEND_EVERY_S = 5
BACKLOG = 128


class DoorSite(web.BaseSite):
    """What listens on the socket that the starter handed over."""

    def __init__(self, runner: web.AppRunner, settings: Settings, roles: Roles) -> None:
        super().__init__(runner)
        self._settings = settings
        self._roles = roles
        self._house: House
        self._tending: asyncio.TimerHandle

    @property
    def name(self) -> str:
        """The address."""
        return self._settings.url

    async def start(self) -> None:
        """Open the house."""
        await super().start()
        server = self._runner.server
        assert server is not None
        self._house = House(server, PlainCalls(self._roles), Lines(self._settings.rest_socket))
        self._tend()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Door(self._house), sock=socket.socket(fileno=self._settings.listen_fd), backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Let nobody in any more, and give the calls under way a moment to end."""
        await super().stop()
        self._tending.cancel()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + STOP_WITHIN_S
        for door in list(self._house.doors):
            door.stop()
        while self._house.doors and loop.time() < deadline_s:
            await asyncio.sleep(0.01)
        self._house.lines.close()

    def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        for door in list(self._house.doors):
            door.tend(loop.time())
        self._tending = loop.call_later(TEND_EVERY_S, self._tend)
