"""`make run`: start everything that is missing, keep it running, stop it in order."""

import os
import sys
import time
from contextlib import ExitStack

import httpx

from local import addresses, services
from local.errors import SetupError
from local.home import Home, write_env
from local.plan import SUPABASE, Plan, read_environment
from local.ports import Ports
from local.processes import Child
from local.progress import Progress
from local.services import Service
from local.signals import StopRequested, stop_on_signals
from local.stack import Stack, start_stack

HISTORY_SESSIONS = "250"
WATCH_S = 0.5


def main() -> int:
    """Run until Ctrl-C or SIGTERM and return the exit code."""
    progress = Progress()
    with stop_on_signals():
        try:
            _supervise(read_environment(os.environ), progress)
        except SetupError as e:
            progress.abandon()
            print(f"interlock: {e}", file=sys.stderr)
            return 1
        except StopRequested:
            progress.abandon()
            progress.say("Stopped.")
    return 0


def _supervise(environment: dict[str, str], progress: Progress) -> None:
    plan = Plan.from_environment(environment)
    home, ports = Home.from_environment(environment), Ports.from_environment(environment).settled()
    plan.require_reachable()
    with ExitStack() as cleanup:
        stack = _start_stack(plan, home, ports, cleanup, progress)
        env = _env(plan, home, ports, stack)
        running: list[Service] = []
        if not plan.alpaca:
            progress.step("Starting the exchange")
            running += _started([services.exchange(home, ports, env)], cleanup)
            _fast_forward(home, ports, env, environment.get("HISTORY_SESSIONS", HISTORY_SESSIONS), progress)
        progress.step("Starting the engine and the pages")
        running += _started([services.engine(home, ports, env), services.pages(home, ports, env)], cleanup)
        progress.welcome(env["APP_URL"], stack.accounts if stack else [])
        _watch(stack, running, progress)


def _start_stack(plan: Plan, home: Home, ports: Ports, cleanup: ExitStack, progress: Progress) -> Stack | None:
    """Start the local Supabase, unless the user has one; either way the home is ours."""
    if plan.supabase:
        cleanup.callback(home.release)
        home.acquire()
        return None
    stack = start_stack(home, ports, report=progress.step)
    cleanup.callback(stack.stop)
    return stack


def _env(plan: Plan, home: Home, ports: Ports, stack: Stack | None) -> dict[str, str]:
    """Return where everything is, and write it down without the user's own secrets."""
    local = addresses.ours(ports)
    if stack:
        local |= {name: stack.env[name] for name in (*SUPABASE, "DATABASE_URL")}
    if not plan.alpaca:
        local |= addresses.exchange(home.keys(), ports)
    public = {name: value for name, value in plan.supabase.items() if name != "SUPABASE_SECRET_KEY"}
    write_env(home.env_file, local | public)
    return local | plan.supabase | plan.alpaca


def _started(starting: list[Service], cleanup: ExitStack) -> list[Service]:
    """Start programs side by side and wait until all are ready; they will be stopped in reverse order."""
    for service in starting:
        cleanup.callback(service.stop)
        service.launch()
    for service in starting:
        service.wait_until_ready()
    return starting


def _fast_forward(home: Home, ports: Ports, env: dict[str, str], sessions: str, progress: Progress) -> None:
    """Let the engine trade through history, on a first start or where an earlier one was interrupted."""
    clock = httpx.get(
        f"{env['ALPACA_BASE_URL']}/_sim/clock", headers=services.sim_headers(env), timeout=5, trust_env=False
    )
    if clock.json()["mode"] != "stepping":
        return
    progress.done()
    step = f"Trading through {sessions} sessions of history (once)"
    progress.say(step)
    since = time.monotonic()
    # It draws its own progress bar, so it writes to this terminal and not into a log.
    replay = Child(
        "The fast-forward",
        [sys.executable, "-m", "engine", "replay", "--sessions", sessions],
        log=None,
        environment=services.engine_environment(home, ports, env),
    )
    try:
        code = replay.wait()
    finally:
        replay.stop()
    if code:
        raise replay.failure(f"stopped with exit code {code}; the lines above say why. `make run` takes it up again")
    progress.finished(step, time.monotonic() - since)


def _watch(stack: Stack | None, running: list[Service], progress: Progress) -> None:
    """Restart what goes down, until we are told to stop. Without its database nothing can go on."""
    while True:
        time.sleep(WATCH_S)
        if stack:
            stack.require_alive()
        for service in running:
            happened = service.keep_alive(now_s=time.monotonic())
            if happened:
                progress.say(happened)


if __name__ == "__main__":
    sys.exit(main())
