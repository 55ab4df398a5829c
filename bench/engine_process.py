"""An engine in a process of its own, as it is in service: what it does there, told as one line of JSON."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from bench.exchange import ADMIN, KEYS
from bench.harness import Bench
from engine.bootstrap import Engine, bootstrap
from engine.config import Settings
from engine.logs import configure_logs
from engine.main import collect_seldom


def run_engine(module: str, bench: Bench, url: str, home: Path, shard: str, **told: Any) -> dict[str, Any]:
    """Run `module` with an engine of this authority and the exchange at `url`; return what it found."""
    settings = {
        "supabase_url": bench.env["SUPABASE_URL"],
        "supabase_publishable_key": bench.env["SUPABASE_PUBLISHABLE_KEY"],
        "supabase_secret_key": bench.env["SUPABASE_SECRET_KEY"],
        "alpaca_base_url": url,
        "alpaca_data_url": url,
        "alpaca_api_key": KEYS["APCA-API-KEY-ID"],
        "alpaca_secret_key": KEYS["APCA-API-SECRET-KEY"],
        "exchange_admin_token": ADMIN["X-Sim-Token"],
        "local_home": str(home / "engine"),
        "engine_shard": shard,
    }
    done = subprocess.run(
        [sys.executable, "-m", module], input=json.dumps([settings, told]), capture_output=True, text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(measure: Callable[..., dict[str, Any]]) -> None:
    """Be the engine's process: wire one as it was told, measure, and print what was found."""
    values, told = json.load(sys.stdin)
    settings = Settings(**values)
    settings.local_home.mkdir()
    with (settings.local_home / "engine.log").open("w", buffering=1) as log, redirect_stdout(log):
        configure_logs(secrets=settings.secret_values)
        engine, done = _wired(settings), threading.Event()
        beating = threading.Thread(target=_beat, args=(engine, done))
        beating.start()
        try:
            found = measure(engine, **told)
        finally:
            done.set()
            beating.join()
    print(json.dumps(found))


def _wired(settings: Settings) -> Engine:
    """Return an engine that holds its lease and knows the controls."""
    engine = bootstrap(settings)
    collect_seldom()
    assert engine.lease.try_acquire(), f"the lease of shard {settings.engine_shard!r} is taken"
    engine.lease.beat(engine.market.read())
    return engine


def _beat(engine: Engine, done: threading.Event) -> None:
    while not done.wait(engine.settings.cadence.heartbeat_s):
        engine.lease.beat(engine.market.last)
