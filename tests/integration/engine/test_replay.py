"""Fast-forwarding history with the real engine's real decisions.

REPLAY_SESSIONS=250 replays as many as the demo does.
"""

import os
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from engine.bootstrap import bootstrap
from engine.replay import Replay, replay
from tests.support.books import differences
from tests.support.engine import settings_for, stepped_engine
from tests.support.exchange import RunningExchange

SESSIONS = int(os.environ.get("REPLAY_SESSIONS", "8"))
pytestmark = pytest.mark.timeout(180 + 5 * SESSIONS)


def fast_forward(env: dict[str, str], exchange: RunningExchange, home: Path, sessions: int) -> None:
    settings = settings_for(env, exchange, home, engine_senders=1)
    replay(bootstrap(settings, view_age_max_s=float("inf")), sessions)


def test_every_session_has_its_equity_and_the_books_agree_when_history_was_replayed(
    clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    stepped = stepped_engine(env, exchange, tmp_path)
    stepped.start()

    assert Replay(stepped.engine, stepped.sim).run(SESSIONS, on_session=lambda _: None) == SESSIONS

    rows = clean_db.execute("select session_date, count(*) from equity_daily group by 1").fetchall()
    assert [count for _, count in rows] == [4] * SESSIONS
    stepped.engine.sync.run(stepped.now())
    held = clean_db.execute("select symbol, sum(qty) from positions group by 1").fetchall()
    ledger = exchange.sim("GET", "ledger")
    assert ledger["ok"]
    assert dict(held) == {symbol: Decimal(qty) for symbol, qty in ledger["positions"].items()} != {}
    assert differences(clean_db) == []
    stepped.engine.lease.release()


def test_the_market_runs_on_when_the_replay_is_done(
    clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    fast_forward(env, exchange, tmp_path, 1)

    assert exchange.sim("GET", "clock")["mode"] == "running"


def test_a_replay_goes_on_where_it_stopped(
    clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    fast_forward(env, exchange, tmp_path, 2)
    exchange.sim("POST", "clock", mode="stepping")

    fast_forward(env, exchange, tmp_path, 4)

    (days,) = clean_db.execute("select count(distinct session_date) from equity_daily").fetchone() or (0,)
    assert days == 4


def test_a_running_market_is_left_alone(
    clean_db: psycopg.Connection, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> None:
    exchange.sim("POST", "clock", mode="running")

    fast_forward(env, exchange, tmp_path, 100)

    assert clean_db.execute("select count(*) from equity_daily").fetchone() == (0,)
