"""`python -m engine drill` against a running engine and a real exchange."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from db import commands
from local.migrations import ROOT
from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_ENTER, only_profile, start_engine_process
from tests.support.exchange import RunningExchange

pytestmark = pytest.mark.timeout(300)
WAIT_S = 60
Start = Callable[..., "subprocess.Popen[str]"]


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_S} s"
        time.sleep(0.1)


def states(db: psycopg.Connection, purpose: str, symbol: str) -> list[str]:
    query = "select state::text from orders where purpose = %s::order_purpose and symbol = %s order by created_at"
    return [row[0] for row in db.execute(query, [purpose, symbol]).fetchall()]


@pytest.fixture
def profile_id(clean_db: psycopg.Connection) -> str:
    """One profile that wants to enter AAPL at once."""
    limits = Jsonb({"signal_bars_max": 1000, "quote_age_max_s": 864000})
    clean_db.execute(
        "update risk_configs set config = jsonb_set(config, '{order_limits}', config -> 'order_limits' || %s)", [limits]
    )
    return only_profile(clean_db, "Alice dips hourly", params=EAGER_TO_ENTER)


@pytest.fixture
def running(
    profile_id: str, env: dict[str, str], clean_db: psycopg.Connection, exchange: RunningExchange, tmp_path: Path
) -> Iterator[RunningExchange]:
    """A running engine in the middle of the first session, whose entry in AAPL rests at the exchange."""
    exchange.sim("POST", "step", minutes=120)
    engine = start_engine_process(env, exchange, tmp_path / "home")
    try:
        wait_for(lambda: states(clean_db, "entry", "AAPL") == ["working"], "entry working")
        yield exchange
    finally:
        engine.stop()


@pytest.fixture
def trading(
    running: RunningExchange, profile_id: str, clean_db: psycopg.Connection, sign_in: SignIn
) -> RunningExchange:
    """The same, holding AAPL under a stop, with another entry, in MSFT, that rests at the exchange."""
    running.sim("POST", "step", minutes=30)
    wait_for(lambda: states(clean_db, "stop_loss", "AAPL") == ["working"], "position protected")
    clean_db.execute("update profiles set symbols = '{AAPL,MSFT}' where id = %s", [profile_id])
    wait_for(lambda: states(clean_db, "entry", "MSFT") == ["working"], "second entry resting")
    wait_for(lambda: commands.preflight_resume(sign_in("admin")).ok, "pre-flight list met")
    return running


@pytest.fixture
def start_drill(running: RunningExchange, env: Mapping[str, str], sign_in: SignIn, tmp_path: Path) -> Iterator[Start]:
    """Start a drill as an admin, in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        who = {"INTERLOCK_EMAIL": sign_in.email("admin"), "INTERLOCK_PASSWORD": sign_in.password("admin")}
        own = {"LOCAL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)} | who
        command = [sys.executable, "-m", "engine", "drill", "--yes", "--json", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(
            subprocess.Popen(
                command, env=os.environ | env | running.env | own, cwd=tmp_path, start_new_session=True, **pipes
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def passing_time(trading: RunningExchange, env: dict[str, str]) -> Iterator[None]:
    """Let market time pass as soon as an exit works at the exchange, so that it is filled."""
    over = threading.Event()

    def watch() -> None:
        with psycopg.connect(env["DATABASE_URL"], autocommit=True) as own:
            while not over.wait(0.2):
                if states(own, "exit", "AAPL") == ["working"]:
                    trading.sim("POST", "step", minutes=10)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    over.set()
    thread.join()


def test_a_drill_measures_the_halt_sees_an_exit_pass_and_puts_everything_back(
    start_drill: Start, passing_time: None, clean_db: psycopg.Connection, trading: RunningExchange, sign_in: SignIn
) -> None:
    process = start_drill("--hold", "1")

    out, err = process.communicate(timeout=180)

    assert process.returncode == 0, out + err
    told = json.loads(out)
    assert told["success"] is True
    report = told["report"]
    assert [(f["promise"], f["proof"]) for f in report["findings"]] == [
        ("HALTED: no entry can be sent", "held"),
        ("HALTED: no entry rests at the broker", "held"),
        ("HALTED: it stays so", "held"),
        ("HALTED: positions keep their stops", "held"),
        ("HALTED: nothing but cancels", "held"),
        ("PAUSED: positions keep their stops", "held"),
        ("PAUSED: exits pass", "held"),
        ("What was before is back", "held"),
    ]
    assert report["who"] == "admin@interlock.local"
    assert report["findings"][1]["figures"]["entries seen resting after the stop"] == 1
    assert report["findings"][6]["figures"]["filled after s"] > 0
    assert states(clean_db, "entry", "MSFT")[0] == "canceled"
    assert states(clean_db, "exit", "AAPL") == ["filled"]
    assert commands.trading_status(sign_in("alice")).mode == "RUNNING"
    page = Path(told["files"]["markdown"]).read_text()
    assert "**The drill passed: everything held.**" in page
    assert json.loads(Path(told["files"]["json"]).read_text()) == report
    ledger = trading.sim("GET", "ledger")
    assert "AAPL" not in ledger["positions"]


def test_an_interrupted_drill_puts_back_what_was_before(
    start_drill: Start, clean_db: psycopg.Connection, sign_in: SignIn
) -> None:
    admin = sign_in("admin")
    wait_for(lambda: commands.preflight_resume(admin).ok, "pre-flight list met")
    process = start_drill("--hold", "600")
    wait_for(lambda: commands.trading_status(admin).mode == "HALTED", "halted")

    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 130, out + err
    report = json.loads(out)["report"]
    assert (report["interrupted"], report["passed"], report["after"]) == (True, False, "RUNNING")
    status = commands.trading_status(admin)
    assert (status.mode, status.reason) == ("RUNNING", f"Fire drill {report['drill_id']} is over")
