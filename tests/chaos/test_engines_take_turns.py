"""Real engine processes: one is frozen while another takes over, one is watched and stopped by its service manager."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from engine.main import EXIT_STUCK, STOP_WITHIN_S
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


def test_the_service_manager_hears_that_it_runs_works_and_stops_even_when_the_broker_hangs(
    start_other: Callable[..., Child], exchange: RunningExchange, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        engine = start_other(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="600000")
        heard = [manager.recv(500).decode()]
        while "STATUS=Trading for shard main." not in heard or "WATCHDOG=1" not in heard:
            heard.append(manager.recv(500).decode())
        exchange.child.signal(signal.SIGSTOP)

        engine.signal(signal.SIGTERM)
        while not heard[-1].startswith("STOPPING=1"):
            heard.append(manager.recv(500).decode())
        ended = engine.wait(STOP_WITHIN_S + 15)
        exchange.child.signal(signal.SIGCONT)

    assert heard[0].startswith("READY=1")
    assert ended in (0, EXIT_STUCK)
