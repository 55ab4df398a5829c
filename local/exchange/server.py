"""One exchange process: open the ledger, listen, let simulated time run, stop cleanly."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
from pathlib import Path

from aiohttp import web

from local.exchange.http.app import create_app
from local.exchange.http.keys import CLOCK_CHANGED, FAULTS
from local.exchange.settings import Setup, SetupProblem
from local.exchange.trading.exchange import Birth, Exchange, open_exchange
from local.exchange.trading.store import LedgerDamaged, LedgerInUse

HOST = "127.0.0.1"
SHUTDOWN_S = 1.0
COLLECT_AFTER = (20_000, 10, 10)  # objects made, and how many rounds make a longer one
NIGHT_S_MAX = 0.75  # wall time of each half of a night: after the close, before the open


async def serve(setup: Setup) -> None:
    """Run the exchange until SIGTERM or SIGINT.

    Raises
    ------
    SetupProblem if the ledger or the port cannot be used
    """
    exchange = open_ledger(setup)
    if setup.runs:
        exchange.set_clock(mode="running", seconds_per_session=exchange.ledger.state.seconds_per_session)
    app = create_app(exchange, setup.access)
    _collect_seldom()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        port = await _listen(runner, setup.port)
        _announce(setup.port_path, port)
        clock = asyncio.create_task(run_clock(exchange, app[CLOCK_CHANGED]))
        await _stop_requested(clock)
        clock.cancel()
        app[FAULTS].clear()
    finally:
        await runner.cleanup()
        exchange.ledger.store.close()


def _collect_seldom() -> None:
    """Let the garbage collector pass over the tape and the rest that stays, and come less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def open_ledger(setup: Setup) -> Exchange:
    birth = Birth(seed=setup.seed, start=setup.start, seconds_per_session=setup.seconds_per_session)
    try:
        return open_exchange(setup.ledger_path, setup.tape, birth, setup.profile)
    except LedgerDamaged as error:
        remedy = "restore it from a backup, or delete it to start over"
        raise SetupProblem(f"{error} ({remedy})") from error
    except (LedgerInUse, ValueError) as error:
        raise SetupProblem(str(error)) from error


async def run_clock(exchange: Exchange, changed: asyncio.Event) -> None:
    """Let simulated time run while the mode says so; a change of mode takes effect at once."""
    while True:
        changed.clear()
        running = exchange.ledger.state.mode == "running" and not exchange.is_over
        wait_s = _until_next_s(exchange) if running else None
        try:
            await asyncio.wait_for(changed.wait(), wait_s)
        except TimeoutError:
            _advance(exchange)


def _until_next_s(exchange: Exchange) -> float:
    ledger = exchange.ledger
    session_s = ledger.state.seconds_per_session
    if ledger.is_open or exchange.walks_the_night:
        return session_s / exchange.market.calendar[ledger.moment.session].last_tick
    return min(NIGHT_S_MAX, session_s / 20)


def _advance(exchange: Exchange) -> None:
    """One tick; of a night, first the jump to shortly before the open, then the open.

    A night in which an order may trade is walked tick by tick.
    """
    moment = exchange.ledger.moment
    if not exchange.walks_the_night and moment.tick == exchange.market.calendar[moment.session].last_tick:
        exchange.skip_night()
    else:
        exchange.step()


async def _listen(runner: web.AppRunner, port: int) -> int:
    site = web.TCPSite(runner, HOST, port)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "stop the other process, or set EXCHANGE_PORT (0: any free port)"
            raise SetupProblem(f"port {port} is in use: {remedy}") from error
        raise SetupProblem(f"cannot listen on port {port}: {error}") from error
    return int(runner.addresses[0][1])


def _announce(path: Path, port: int) -> None:
    path.write_text(f"{port}\n")
    print(f"listening on http://{HOST}:{port}", flush=True)


async def _stop_requested(clock: asyncio.Task[None]) -> None:
    """Wait for a signal; a clock that dies ends the process rather than standing still."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, clock}, return_when=asyncio.FIRST_COMPLETED)
    if clock.done():
        clock.result()
    stopped.cancel()
