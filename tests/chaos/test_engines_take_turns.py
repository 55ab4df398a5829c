"""Real engine processes: one is frozen while another takes over, one is watched and stopped by its service manager."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from local.processes import Child
from tests.chaos.conftest import StartEngine
from tests.chaos.test_engine_killed import sent_ids, states, wait_for
from tests.support.engine import start_engine_process
from tests.support.exchange import RunningExchange

pytestmark = pytest.mark.timeout(180)


def is_frozen(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def wake(child: Child) -> int:
    """Let a frozen engine go on, and return the code that it ends with."""
    child.signal(signal.SIGCONT)
    return child.wait(60)


@pytest.fixture
def start_other(
    eager_profile: str, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> Iterator[Callable[..., Child]]:
    """Return a function that starts an engine of another machine; `more` are variables for it."""
    started: list[Child] = []

    def start(**more: str) -> Child:
        started.append(start_engine_process(env | more, exchange, tmp_path / "other"))
        return started[-1]

    yield start
    for child in started:
        child.stop()


def test_an_engine_that_was_frozen_before_sending_sends_nothing_once_another_has_taken_over(
    start_engine: StartEngine,
    start_other: Callable[..., Child],
    clean_db: psycopg.Connection,
    exchange: RunningExchange,
) -> None:
    frozen = start_engine(crash_at="after_claim:freeze")
    wait_for(lambda: is_frozen(frozen), timeout_s=60, what="the first engine frozen with a permit")
    assert states(clean_db, "entry") == ["submitting"]
    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")  # as its ten seconds do
    heir = start_other()
    wait_for(lambda: states(clean_db, "entry") == ["canceled"], timeout_s=60, what="the permit's order given up")

    assert wake(frozen) == 3

    assert sent_ids(exchange) == []
    assert heir.exit_code is None
    assert states(clean_db, "entry") == ["canceled"]
    row = clean_db.execute("select split_part(holder, ':', 2)::int from engine_leases").fetchone()
    assert row == (heir.pid,)


def test_an_engine_that_was_frozen_after_sending_records_nothing_once_another_has_taken_over(
    start_engine: StartEngine,
    start_other: Callable[..., Child],
    clean_db: psycopg.Connection,
    exchange: RunningExchange,
) -> None:
    frozen = start_engine(crash_at="after_submit:freeze")
    wait_for(lambda: is_frozen(frozen), timeout_s=60, what="the first engine frozen after sending")
    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")
    start_other()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="the order adopted")

    assert wake(frozen) == 3

    assert states(clean_db, "entry") == ["working"]
    assert len(sent_ids(exchange)) == 1


def test_the_service_manager_hears_that_it_runs_works_and_stops(
    start_other: Callable[..., Child], clean_db: psycopg.Connection, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        engine = start_other(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="600000")
        heard = [manager.recv(500).decode()]
        while "STATUS=Trading for shard main." not in heard or "WATCHDOG=1" not in heard:
            heard.append(manager.recv(500).decode())

        engine.signal(signal.SIGTERM)
        while not heard[-1].startswith("STOPPING=1"):
            heard.append(manager.recv(500).decode())

    assert heard[0].startswith("READY=1")
    assert engine.wait(20) == 0
    assert clean_db.execute("select expires_at <= clock_timestamp() from engine_leases").fetchone() == (True,)


def test_an_engine_does_not_start_on_an_older_database_and_says_what_to_run(
    start_other: Callable[..., Child], clean_db: psycopg.Connection, tmp_path: Path
) -> None:
    row = clean_db.execute("select pg_get_functiondef('public.schema_version'::regproc)").fetchone()
    assert row is not None
    older = row[0].replace("20261122090000", "20261121130000")
    try:
        clean_db.execute(older)
        engine = start_other()

        assert engine.wait(60) == 2
    finally:
        clean_db.execute(row[0])
    assert "supabase db push --workdir db" in (tmp_path / "other" / "engine.log").read_text()
    assert states(clean_db, "entry") == []


def test_a_stop_is_bounded_when_a_call_does_not_come_back(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    engine = start_engine()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="entry working")
    exchange.child.signal(signal.SIGSTOP)
    try:
        asked_s = time.monotonic()
        engine.signal(signal.SIGTERM)

        assert engine.wait(30) in (0, 4)
        print(f"stopped {time.monotonic() - asked_s:.1f} s after it was asked to")
    finally:
        exchange.child.signal(signal.SIGCONT)
