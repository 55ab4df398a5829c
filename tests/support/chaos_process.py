"""Engines and exchanges as processes of their own, forked from one that has imported everything: quick to start."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from local.home import Keys
from local.migrations import ROOT
from local.ports import LOOPBACK
from local.processes import PR_SET_PDEATHSIG
from tests.support.exchange import RunningExchange, free_port

VERSION = "TEST_ENGINE_VERSION"  # what an engine says it is: one that runs on while its schema is upgraded
CLOCK = "TEST_ENGINE_CLOCK"  # how many seconds its machine's clock is off: by turns, when it is several
CLOCK_TURN_S = 5
CLOCK_IS_OFF = "this machine's clock is off"
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["engine.main", "local.exchange.__main__", "tests.support.chaos_process"])


class Forked:
    """A running process; an exit code below zero is the signal that ended it."""

    def __init__(self, run: Callable[[], int], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._process = _FORKS.Process(target=_become, args=(run, dict(environment), str(log)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    @property
    def is_frozen(self) -> bool:
        """Tell whether it has been stopped by a signal and not been continued."""
        stat = Path(f"/proc/{self.pid}/stat")
        return self.exit_code is None and stat.read_text().rsplit(")", 1)[1].split()[0] == "T"

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; return the exit code, None when it has not ended in time."""
        self._process.join(timeout_s)
        return self.exit_code

    def stop(self, grace_s: float = 3.0) -> None:
        """Ask it to stop; kill it after the grace."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.wait(grace_s) is None:
            self.signal(signal.SIGKILL)
            self.wait(grace_s)


def fork_engine(env: Mapping[str, str], home: Path, *, crash_at: str = "", **more: str) -> Forked:
    """Start an engine; its log is engine.log in its home."""
    own = {
        "LOCAL_HOME": str(home),
        "ENGINE_API_PORT": "0",
        "METRICS_PORT": "0",
        "ENGINE_CRASH_AT": crash_at,
    }
    home.mkdir(exist_ok=True, parents=True)
    return Forked(_engine, os.environ | dict(env) | own | more, home / "engine.log")


def fork_exchange(home: Path, keys: Keys) -> RunningExchange:
    """Start an exchange on a free port, before its first session, stepping."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    env = {
        "ALPACA_BASE_URL": url,
        "ALPACA_DATA_URL": url,
        "ALPACA_API_KEY": keys.alpaca_api_key,
        "ALPACA_SECRET_KEY": keys.alpaca_secret_key,
        "EXCHANGE_ADMIN_TOKEN": keys.exchange_admin_token,
    }
    own = {"EXCHANGE_PORT": str(port), "LOCAL_HOME": str(home)}
    child = Forked(_exchange, os.environ | env | own, home / "exchange.log")
    return RunningExchange(child, url, env)  # type: ignore[arg-type]  # it has what a Child has


def _become(run: Callable[[], int], environment: Mapping[str, str], log: str) -> None:
    """Be the program: nothing of the process that asked for it is left but the imports."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(run())


def _engine() -> int:
    from engine.main import main
    from engine.service import lease

    lease.__version__ = os.environ.get(VERSION, lease.__version__)
    if CLOCK in os.environ:
        _set_clock([float(off_s) for off_s in os.environ[CLOCK].split(",")])
    return main()


def _set_clock(off_s: Sequence[float]) -> None:
    """Let this process's clock be off, and jump to and fro when there are several distances."""
    from engine.adapters.system_clock import SystemClock

    right, began_s = time.time, time.monotonic()

    def wrong() -> float:
        return right() + off_s[int((time.monotonic() - began_s) / CLOCK_TURN_S) % len(off_s)]

    print(CLOCK_IS_OFF, "by", *off_s, "s", flush=True)
    time.time = wrong
    SystemClock.now = lambda _: datetime.fromtimestamp(wrong(), UTC)  # type: ignore[method-assign]


def _exchange() -> int:
    from local.exchange.__main__ import app

    app([], prog_name="exchange", standalone_mode=False)
    return 0
