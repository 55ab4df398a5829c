"""Connections that are silent or idle for long, on either side of the gateway."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from local.auth import door
from local.auth.calls import Call
from local.auth.door import Door, House
from local.auth.lines import IDLE_MAX_S, SILENCE_MAX_S, Line, Lines

REQUEST = b"GET /t HTTP/1.1\r\nHost: postgrest\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"

WITHIN_S = 5

Said = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Noted:
    """A caller that notes what happens to it."""

    def __init__(self) -> None:
        self.is_gone = False
        self.noted: list[str] = []
        self.back = b""

    def pass_back(self, data: bytes) -> None:
        self.back += data

    def finish(self) -> None:
        self.noted.append("finished")

    def fail(self) -> None:
        self.noted.append("failed")

    def break_off(self) -> None:
        self.noted.append("broken off")


@asynccontextmanager
async def postgrest(path: Path) -> AsyncIterator[list[Said]]:
    """Listen in PostgREST's place; what connects is left to the test."""
    connected: list[Said] = []
    server = await asyncio.start_unix_server(lambda reader, writer: connected.append((reader, writer)), path)
    yield connected
    server.close()
    for _, writer in connected:
        await ended(writer)


def run(test: Callable[[Lines, list[Said]], Awaitable[None]]) -> None:
    """Run a test with lines to a PostgREST that it plays itself."""

    async def begin(path: Path) -> None:
        async with asyncio.timeout(WITHIN_S), postgrest(path) as connected:
            lines = Lines(path)
            await test(lines, connected)
            lines.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(begin(Path(folder) / "rest.sock"))


async def asked(lines: Lines, caller: Noted, connected: list[Said], number: int = 1) -> tuple[Line, Said]:
    """Send a call; return the line that it goes over, and the other end of it: the one with this number."""
    call = Call(b"GET", REQUEST, caller)
    assert lines.carry(call)
    assert isinstance(call.line, Line)
    while len(connected) < number:
        await asyncio.sleep(0)
    assert await connected[-1][0].readexactly(len(REQUEST)) == REQUEST
    return call.line, connected[-1]


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_a_silent_postgrest_is_given_up_and_not_asked_again() -> None:
    async def test(lines: Lines, connected: list[Said]) -> None:
        caller = Noted()
        line, (reader, _) = await asked(lines, caller, connected)

        line.tend(now_s() + SILENCE_MAX_S - 1)
        assert caller.noted == []
        line.tend(now_s() + SILENCE_MAX_S + 1)

        assert caller.noted == ["failed"]
        assert await reader.read() == b""
        assert len(connected) == 1

    run(test)


def test_a_postgrest_that_falls_silent_within_an_answer_is_given_up() -> None:
    async def test(lines: Lines, connected: list[Said]) -> None:
        caller = Noted()
        line, (_, writer) = await asked(lines, caller, connected)
        writer.write(ANSWER[:-1])
        while not caller.back:
            await asyncio.sleep(0.01)

        line.tend(now_s() + SILENCE_MAX_S + 1)

        assert caller.noted == ["broken off"]

    run(test)


def test_a_caller_that_does_not_keep_up_is_waited_for() -> None:
    async def test(lines: Lines, connected: list[Said]) -> None:
        caller = Noted()
        line, (_, writer) = await asked(lines, caller, connected)
        line.pause()
        writer.write(ANSWER)
        await asyncio.sleep(0.05)

        line.tend(now_s() + 10 * SILENCE_MAX_S)
        assert (caller.back, caller.noted) == (b"", [])
        line.resume()
        while not caller.noted:
            await asyncio.sleep(0.01)

        assert (caller.back, caller.noted) == (ANSWER, ["finished"])

    run(test)


def test_a_line_that_was_held_up_at_the_end_carries_the_next_call() -> None:
    class Slow(Noted):
        def pass_back(self, data: bytes) -> None:
            super().pass_back(data)
            line.pause()

    async def test(lines: Lines, connected: list[Said]) -> None:
        nonlocal line
        for caller in (Slow(), Noted()):
            line, (_, writer) = await asked(lines, caller, connected)
            writer.write(ANSWER)
            while not caller.noted:
                await asyncio.sleep(0.01)

        assert len(connected) == 1

    line: Line
    run(test)


def test_an_idle_line_is_closed_and_the_next_call_takes_another() -> None:
    async def test(lines: Lines, connected: list[Said]) -> None:
        caller = Noted()
        line, (reader, writer) = await asked(lines, caller, connected)
        writer.write(ANSWER)
        while not caller.noted:
            await asyncio.sleep(0.01)

        line.tend(now_s() + IDLE_MAX_S - 1)
        line.tend(now_s() + IDLE_MAX_S + 1)

        assert await reader.read() == b""
        assert (await asked(lines, caller, connected, number=2))[0] is not line

    run(test)


def test_what_is_said_unasked_ends_the_line() -> None:
    async def test(lines: Lines, connected: list[Said]) -> None:
        caller = Noted()
        _, (reader, writer) = await asked(lines, caller, connected)
        writer.write(ANSWER)
        while not caller.noted:
            await asyncio.sleep(0.01)

        writer.write(ANSWER)

        assert await reader.read() == b""
        assert caller.back == ANSWER

    run(test)


def test_a_caller_that_is_idle_is_let_go_and_one_that_waits_is_not() -> None:
    async def test(lines: Lines, _connected: list[Said]) -> None:
        house = House(cast(Any, None), cast(Any, None), lines)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Door(house), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        while not house.doors:
            await asyncio.sleep(0.01)
        (entered,) = house.doors

        entered._call = cast(Any, Call(b"GET", REQUEST, entered))
        entered.tend(now_s() + door.IDLE_MAX_S + 1)
        entered._call = None
        entered.tend(now_s() + door.IDLE_MAX_S - 1)
        assert not entered.is_gone
        entered.tend(now_s() + door.IDLE_MAX_S + 1)

        assert await reader.read() == b""
        await ended(writer)
        server.close()

    run(test)
