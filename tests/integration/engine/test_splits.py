"""A split overnight: twice the shares at half the price, and nobody sells because of it."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from local.stack import Stack
from tests.support.books import differences
from tests.support.engine import EAGER_TO_ENTER, SteppedEngine, only_profile, stepped_engine
from tests.support.exchange import RunningExchange, start_exchange

PROFILE = "Alice dips hourly"


@pytest.fixture
def exchange(stack: Stack, tmp_path: Path) -> Iterator[RunningExchange]:
    """An exchange two sessions before AAPL's two for one of 2005-02-28."""
    running = start_exchange(tmp_path, stack.keys, EXCHANGE_START="2005-02-24")
    yield running
    running.child.stop()


@pytest.fixture
def stepped(
    clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> Iterator[SteppedEngine]:
    """An engine that holds AAPL on the evening before the split."""
    only_profile(clean_db, PROFILE, params=EAGER_TO_ENTER)
    stepped = stepped_engine(env, exchange, tmp_path / "home")
    stepped.sim.step_minutes(120)
    stepped.start()
    stepped.act()
    while stepped.now().session_date.day < 25 or stepped.now().is_open:
        stepped.sim.step_to_close()
        stepped.act()
    assert len(stepped.engine.book.read().trades) == 1
    yield stepped
    stepped.engine.lease.release()


def position(db: psycopg.Connection) -> tuple[Decimal, ...]:
    query = "select qty, avg_entry_price, cost_usd, stop_price, take_profit_price from positions"
    row = db.execute(query).fetchone()
    assert row is not None
    return tuple(row)


def test_our_books_follow_a_split_and_nothing_is_sold(stepped: SteppedEngine, clean_db: psycopg.Connection) -> None:
    qty, price, cost, stop, target = position(clean_db)

    stepped.step(10)
    findings = stepped.engine.reconciler.run(stepped.now(), "incremental")
    for _ in range(5):  # a stop that looks passed by would be acted on at the third look
        stepped.act()

    assert [(f.kind, f.repaired) for f in findings] == [("SHARES_SPLIT", True)]
    cent = Decimal("0.01")
    after = position(clean_db)
    assert after[:3] == (2 * qty, pytest.approx(price / 2), cost)
    assert abs(after[3] - stop / 2) <= cent and abs(after[4] - target / 2) <= cent
    assert clean_db.execute("select count(*) from orders where purpose = 'exit'").fetchone() == (0,)
    legs = "select qty from orders where purpose in ('stop_loss', 'take_profit') and state = 'working'"
    assert clean_db.execute(legs).fetchall() == [(2 * qty,), (2 * qty,)]
    assert stepped.engine.reconciler.run(stepped.now(), "full") == []
    assert differences(clean_db) == []


def test_a_split_is_booked_once_and_only_if_it_explains_what_is_held(
    stepped: SteppedEngine, clean_db: psycopg.Connection
) -> None:
    stepped.sim.step_minutes(10)
    stepped.exchange.sim("POST", "trade", symbol="AAPL", side="buy", qty="1")

    findings = stepped.engine.reconciler.run(stepped.now(), "incremental")

    assert [f.kind for f in findings] == ["POSITION_MISMATCH"]
    stepped.exchange.sim("POST", "trade", symbol="AAPL", side="sell", qty="1")
    stepped.engine.reconciler.run(stepped.now(), "incremental")
    stepped.engine.reconciler.run(stepped.now(), "incremental")
    assert clean_db.execute("select symbol, ratio from splits").fetchall() == [("AAPL", 2)]
    assert clean_db.execute("select count(*) from reconciliation_findings where status = 'open'").fetchone() == (0,)
