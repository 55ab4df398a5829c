"""kill -9 at the worst moments: no order is sent twice and none is lost."""

import signal
import time
from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from tests.chaos.conftest import StartEngine
from tests.support.engine import EAGER_TO_LEAVE, only_profile
from tests.support.exchange import RunningExchange

pytestmark = pytest.mark.timeout(180)
OPEN = "('awaiting_approval', 'ready', 'submitting', 'unknown')"


def wait_for(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.2)


def states(db: psycopg.Connection, purpose: str) -> list[str]:
    query = "select state::text from orders where purpose = %s::order_purpose order by created_at"
    return [row[0] for row in db.execute(query, [purpose]).fetchall()]


def sent_ids(exchange: RunningExchange) -> list[str]:
    """Return the client ids of all orders we sent, legs left out."""
    ledger = exchange.sim("GET", "ledger")
    assert ledger["ok"], ledger["problems"]
    return [order["client_order_id"] for order in ledger["orders"] if order["parent_id"] is None]


def is_settled(db: psycopg.Connection) -> bool:
    row = db.execute(f"select count(*) filter (where state in {OPEN}), count(*) from orders").fetchone()
    return row is not None and row[0] == 0 and row[1] > 0


def kill_and_restart(
    start_engine: StartEngine, db: psycopg.Connection, crash_at: str, *, meanwhile: Callable[[], object] = bool
) -> None:
    """Let an engine kill itself, start another, and wait until no order's fate is open."""
    dying = start_engine(crash_at=crash_at)
    assert dying.wait(60) == -signal.SIGKILL
    meanwhile()
    start_engine()
    wait_for(lambda: is_settled(db), timeout_s=60, what="every order settled after the restart")


def test_the_order_is_never_sent_when_killed_between_claim_and_submit(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    kill_and_restart(start_engine, clean_db, "after_claim")

    assert states(clean_db, "entry") == ["canceled"]
    assert sent_ids(exchange) == []
    row = clean_db.execute("select sum(reserved_usd) from profile_capital").fetchone()
    assert row == (0,)


def test_the_order_is_adopted_when_killed_between_submit_and_record(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    kill_and_restart(start_engine, clean_db, "after_submit")

    assert states(clean_db, "entry") == ["working"]
    assert len(sent_ids(exchange)) == 1


def test_the_order_is_adopted_with_its_fill_when_it_filled_before_the_restart(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    kill_and_restart(start_engine, clean_db, "after_submit", meanwhile=lambda: exchange.sim("POST", "step", minutes=30))

    assert states(clean_db, "entry") == ["filled"]
    held = clean_db.execute("select symbol, qty from positions").fetchall()
    assert dict(held) == {s: Decimal(q) for s, q in exchange.sim("GET", "ledger")["positions"].items()} != {}
    assert len(sent_ids(exchange)) == 1


def test_the_order_is_never_sent_when_killed_as_the_gate_has_answered_with_its_permit(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    kill_and_restart(start_engine, clean_db, "mid_tick")

    assert states(clean_db, "entry") == ["canceled"]
    assert sent_ids(exchange) == []
    row = clean_db.execute("select sum(reserved_usd) from profile_capital").fetchone()
    assert row == (0,)


def test_an_exit_is_sent_once_under_its_first_id_when_killed_between_claim_and_submit(
    start_engine: StartEngine, clean_db: psycopg.Connection, exchange: RunningExchange
) -> None:
    steady = start_engine()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="entry working")
    exchange.sim("POST", "step", minutes=30)
    wait_for(lambda: len(states(clean_db, "stop_loss")) == 1, timeout_s=30, what="position protected")
    steady.stop()
    only_profile(clean_db, "Alice dips hourly", params=EAGER_TO_LEAVE)

    kill_and_restart(start_engine, clean_db, "after_claim")
    (exit_id,) = [str(row[0]) for row in clean_db.execute("select id from orders where purpose = 'exit'").fetchall()]
    wait_for(lambda: states(clean_db, "exit") == ["working"], timeout_s=30, what="exit working")
    exchange.sim("POST", "step", minutes=10)
    wait_for(lambda: states(clean_db, "exit") == ["filled"], timeout_s=30, what="exit filled")

    assert sent_ids(exchange).count(exit_id) == 1
    assert len(sent_ids(exchange)) == 2
    assert exchange.sim("GET", "ledger")["positions"] == {}


def test_the_engine_stops_cleanly_and_gives_its_lease_back_when_asked_to(
    start_engine: StartEngine, clean_db: psycopg.Connection
) -> None:
    engine = start_engine()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="entry working")

    engine.signal(signal.SIGTERM)

    assert engine.wait(10) == 0
    row = clean_db.execute("select expires_at <= clock_timestamp() from engine_leases").fetchone()
    assert row == (True,)


def test_the_engine_recovers_by_itself_when_its_lease_ran_out_and_nobody_took_over(
    start_engine: StartEngine, clean_db: psycopg.Connection
) -> None:
    engine = start_engine()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="entry working")

    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")

    alive = "select token > 1 and expires_at > clock_timestamp() from engine_leases"
    wait_for(lambda: clean_db.execute(alive).fetchone() == (True,), timeout_s=20, what="a lease of its own again")
    assert engine.exit_code is None


def test_the_engine_stops_with_an_error_when_another_has_taken_over(
    start_engine: StartEngine, clean_db: psycopg.Connection
) -> None:
    engine = start_engine()
    wait_for(lambda: states(clean_db, "entry") == ["working"], timeout_s=60, what="entry working")

    clean_db.execute(
        "update engine_leases set holder = 'other', token = token + 1, expires_at = clock_timestamp() + interval '60 s'"
    )

    assert engine.wait(20) == 3
