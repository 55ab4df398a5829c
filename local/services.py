"""The programs beside the stack: the exchange, the engine, the pages. Each is started, watched and restarted."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.gateway import answers
from local.home import Home
from local.migrations import ROOT
from local.plan import ALPACA, ALPACA_ADDRESSES, SUPABASE
from local.ports import LOOPBACK, Ports
from local.processes import Child

RESTARTS_MAX = 3
RESTART_WINDOW_S = 60.0
READY_TIMEOUT_S = 60.0
# No program inherits a key that it does not need.
KEYS = {*SUPABASE, *ALPACA, *ALPACA_ADDRESSES, "DATABASE_URL", "EXCHANGE_ADMIN_TOKEN"}


@dataclass
class Service:
    """A program that should be running."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    is_ready: Callable[[], bool]
    grace_s: float
    child: Child | None = None
    _restarts: list[float] = field(default_factory=list)

    def launch(self) -> None:
        """Start it."""
        self.child = Child(self.name, self.command, log=self.log, environment=self.environment)

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises
        ------
        ChildFailed when it went down, or does not answer in time
        """
        if self.child is not None:
            self.child.wait_until(self.is_ready, timeout_s=READY_TIMEOUT_S)

    def keep_alive(self, *, now_s: float) -> str | None:
        """Start it again when it went down; return what happened, if anything.

        Raises
        ------
        ChildFailed when it keeps going down
        """
        if self.child is None or self.child.exit_code is None:
            return None
        what = f"stopped with exit code {self.child.exit_code}"
        self._restarts = [at for at in self._restarts if at > now_s - RESTART_WINDOW_S]
        if len(self._restarts) >= RESTARTS_MAX:
            raise self.child.failure(f"{what}, for the {RESTARTS_MAX + 1}th time within a minute")
        self._restarts.append(now_s)
        self.launch()
        return f"{self.name} {what}; started again. Its log: {self.log}"

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self.child is not None:
            self.child.stop(self.grace_s)


def exchange(home: Home, ports: Ports, env: Mapping[str, str]) -> Service:
    """Return the paper exchange."""
    headers = sim_headers(env)
    return Service(
        name="The exchange",
        command=[sys.executable, "-m", "local.exchange"],
        environment=_environment(home, env, ALPACA, "EXCHANGE_ADMIN_TOKEN", EXCHANGE_PORT=ports.exchange),
        log=home.logs / "exchange.log",
        is_ready=lambda: answers(f"{env['ALPACA_BASE_URL']}/_sim/clock", headers=headers),
        grace_s=1.5,
    )


def engine(home: Home, ports: Ports, env: Mapping[str, str]) -> Service:
    """Return the engine; it is up when it answers at all, since health is for members only."""
    return Service(
        name="The engine",
        command=[sys.executable, "-m", "engine"],
        environment=engine_environment(home, ports, env),
        log=home.logs / "engine.log",
        is_ready=lambda: answers(f"{env['ENGINE_API_URL']}/internal/health", status_max=599),
        grace_s=3.0,
    )


def pages(home: Home, ports: Ports, env: Mapping[str, str]) -> Service:
    """Return the pages. They get the publishable key alone."""
    server = [f"--server.port={ports.app}", f"--server.address={LOOPBACK}", "--server.headless=true"]
    return Service(
        name="The page server",
        command=[sys.executable, "-m", "streamlit", "run", "app.py", *server],
        environment=_environment(home, env, ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"), "ENGINE_API_URL"),
        log=home.logs / "pages.log",
        is_ready=lambda: answers(f"{env['APP_URL']}/_stcore/health"),
        grace_s=1.5,
    )


def engine_environment(home: Home, ports: Ports, env: Mapping[str, str]) -> dict[str, str]:
    """Return what the engine and its fast-forward are told."""
    return _environment(
        home,
        env,
        (*SUPABASE, *ALPACA, *ALPACA_ADDRESSES),
        "EXCHANGE_ADMIN_TOKEN",
        ENGINE_API_PORT=ports.engine_api,
        METRICS_PORT=ports.metrics,
    )


def sim_headers(env: Mapping[str, str]) -> dict[str, str]:
    """Return the header that opens the exchange's `/_sim` routes."""
    return {"X-Sim-Token": env["EXCHANGE_ADMIN_TOKEN"]}


def _environment(
    home: Home, env: Mapping[str, str], names: tuple[str, ...], *more: str, **settings: int
) -> dict[str, str]:
    """Return our environment without any key, and with those of `env` that are named."""
    inherited = {name: value for name, value in os.environ.items() if name not in KEYS}
    told = {name: env[name] for name in (*names, *more) if name in env}
    own = {"LOCAL_HOME": str(home.path), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return inherited | own | told | {name: str(value) for name, value in settings.items()}
