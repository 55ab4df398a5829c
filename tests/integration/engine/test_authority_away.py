"""The database is away: entries stop, exits go on, and everything is told once when it is back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from db.client import engine_client
from engine.domain.book import Purpose
from engine.domain.errors import AuthorityUnavailable, ConfigError, LeaseLost
from engine.domain.requests import exit_id
from engine.domain.versions import SCHEMA
from engine.service.crash_points import CrashPointReached
from local.stack import Stack
from tests.support.engine import SteppedEngine, stepped_engine
from tests.support.exchange import RunningExchange

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def away(stack: Stack) -> Iterator[Callable]:
    """Return a context in which the database cannot be reached."""

    @contextmanager
    def absence() -> Iterator[None]:
        stack.gateway.stop(1.0)
        try:
            yield
        finally:
            stack.start_gateway()

    return absence


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease outlasts what a test does by hand between two signs of life."""
    monkeypatch.setattr("engine.service.lease.TTL_S", 300)


@pytest.fixture
def holding(stepped: SteppedEngine, clean_db: psycopg.Connection) -> SteppedEngine:
    """An engine that holds AAPL and has bought all it wants; nothing at the broker protects it any more."""
    stepped.act()
    stepped.step(10)
    stepped.act()
    clean_db.execute("update profiles set active = false")
    engine = stepped.engine
    engine.book.outdate()
    for leg in engine.book.read().trades[0].legs:
        assert leg.broker_order_id is not None
        engine.executor._broker.cancel(leg.broker_order_id)
    engine.sync.run(stepped.now())
    engine.book.outdate()
    (trade,) = engine.book.read().trades
    assert trade.legs == () and trade.qty > 0
    return stepped


def move_the_stop_above_the_price(stepped: SteppedEngine, db: psycopg.Connection) -> None:
    """Have the position need closing at once."""
    db.execute("update positions set stop_price = 100000")
    stepped.engine.book.outdate()
    stepped.engine.book.read()


def trade_id(stepped: SteppedEngine) -> str:
    assert stepped.engine.book.last is not None
    return stepped.engine.book.last.trades[0].trade_id


def sells(stepped: SteppedEngine) -> list[tuple[str, str]]:
    """Return client id and status of all that was sent after the entry, as the exchange has it."""
    sent = [order for order in stepped.orders_at_exchange() if order["parent_id"] is None]
    return [(order["client_order_id"], order["status"]) for order in sent[1:]]


def exits_in_books(db: psycopg.Connection) -> list[tuple[str, str, str]]:
    query = "select id::text, purpose::text, state::text from orders where purpose <> 'entry' and parent_id is null"
    return db.execute(query).fetchall()


def come_back(stepped: SteppedEngine) -> None:
    """Let the engine notice that the database answers again, and tell it the journal."""
    engine = stepped.engine
    engine.clock.sleep(0.6)  # an authority that did not answer is left alone for a moment
    engine.lease.beat(stepped.now())
    engine.offline.run(engine.market.read)


def test_a_naked_position_is_protected_while_the_database_is_away(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    stop_id = exit_id(trade_id=trade_id(holding), purpose=Purpose.STOP_LOSS, attempt=0)
    with away():
        for _ in range(3):
            holding.engine.monitor.run(holding.now())

        assert sells(holding) == [(stop_id, "new")]
    come_back(holding)

    assert exits_in_books(clean_db) == [(stop_id, "stop_loss", "working")]
    assert holding.engine.offline.replay() == 0


def test_a_position_is_closed_while_the_database_is_away_and_its_fill_is_booked_afterwards(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    first_exit = exit_id(trade_id=trade_id(holding), purpose=Purpose.EXIT, attempt=0)
    with away():
        holding.engine.monitor.run(holding.now())
        holding.sim.step_minutes(10)
        for _ in range(3):
            holding.engine.monitor.run(holding.now())

        assert sells(holding) == [(first_exit, "filled")]
    come_back(holding)
    holding.engine.sync.run(holding.now())

    assert exits_in_books(clean_db) == [(first_exit, "exit", "filled")]
    assert clean_db.execute("select count(*) from positions").fetchone() == (0,)
    assert clean_db.execute("select count(*), sum(qty) from fills where purpose = 'exit'").fetchone()[0] == 1
    assert holding.engine.reconciler.run(holding.now(), "full") == []


def test_no_exit_is_doubled_when_the_database_comes_back_before_it_is_told(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    with away():
        holding.engine.monitor.run(holding.now())
    holding.engine.clock.sleep(0.6)

    holding.engine.book.outdate()
    assert holding.engine.monitor.run(holding.now()) == 1  # asks the database for the same exit
    holding.engine.executor.submit_ready()
    come_back(holding)
    holding.step(10)

    assert [status for _, status in sells(holding)] == ["filled"]
    assert [state for _, _, state in exits_in_books(clean_db)] == ["filled"]
    assert holding.exchange.sim("GET", "ledger")["positions"] == {}


def test_an_exit_that_the_database_had_accepted_is_sent_without_it(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    assert holding.engine.monitor.run(holding.now()) == 1
    holding.engine.book.read()
    with away():
        holding.engine.book.outdate()
        with pytest.raises(AuthorityUnavailable):
            holding.engine.executor.submit_ready()
        holding.engine.offline.run(holding.engine.market.read)

        assert len(sells(holding)) == 1
    come_back(holding)
    holding.step(10)

    assert [state for _, _, state in exits_in_books(clean_db)] == ["filled"]


@pytest.mark.parametrize("point", ["offline_intended", "offline_sent", "replay_told"])
def test_nothing_is_lost_and_nothing_doubled_when_the_engine_dies_at(
    point: str,
    holding: SteppedEngine,
    away: Callable,
    clean_db: psycopg.Connection,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    clean_db.execute("update risk_configs set config = jsonb_set(config, '{order_limits,permit_ttl_s}', '1')")
    monkeypatch.setenv("ENGINE_CRASH_AT", f"{point}:raise")
    with pytest.raises(CrashPointReached):
        with away():
            holding.engine.monitor.run(holding.now())
        come_back(holding)
    monkeypatch.delenv("ENGINE_CRASH_AT")
    holding.engine.offline._journal._close()  # as the process's end does
    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")

    heir = stepped_engine(env, holding.exchange, tmp_path / "home")
    heir.start()
    while clean_db.execute("select count(*) from positions").fetchone() != (0,):
        heir.step(1)
        heir.engine.clock.sleep(0.2)

    assert [status for _, status in sells(heir)] == ["filled"]
    assert [state for _, _, state in exits_in_books(clean_db)] == ["filled"]
    heir.engine.lease.release()


def resting_stops(stepped: SteppedEngine) -> list[Decimal | None]:
    pages = stepped.engine.executor._broker.order_pages(None, nested=False)
    return [order.stop_price for page in pages for order in page if order.type == "stop" and order.is_open]


def test_a_trailing_stop_goes_on_trailing_while_the_database_is_away_and_the_books_follow(
    stepped: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    rules = Jsonb({"trailing_stop_pct": "0.02", "take_profit_pct": "0.5"})
    clean_db.execute("update profiles set params = params || %s where active", [rules])
    stepped.act()
    stepped.step(10)
    stepped.act()
    clean_db.execute("update profiles set active = false")
    stepped.engine.book.outdate()
    stepped.act()
    (before,) = resting_stops(stepped)
    seen = []
    with away():
        for _ in range(2):
            stepped.exchange.sim("POST", "price", symbol="AAPL", pct="0.05")
            stepped.sim.step_minutes(3)
            for _ in range(2):
                stepped.engine.monitor.run(stepped.now())
            seen += resting_stops(stepped)
    come_back(stepped)
    for _ in range(3):
        stepped.act()
    stepped.engine.reconciler.run(stepped.now(), "full")

    first, second = seen
    assert before < first < second
    (rests,) = resting_stops(stepped)
    assert rests >= second
    working = "select stop_price from orders where purpose = 'stop_loss' and state = 'working'"
    assert clean_db.execute(working).fetchall() == clean_db.execute("select stop_price from positions").fetchall()
    assert clean_db.execute(working).fetchall() == [(rests,)]
    assert stepped.engine.monitor.run(stepped.now()) == 0


def test_an_exit_is_recognised_by_its_id_when_its_journal_is_lost(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection, env: dict[str, str], tmp_path: Path
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    with away():
        holding.engine.monitor.run(holding.now())
        holding.sim.step_minutes(10)
    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")

    heir = stepped_engine(env, holding.exchange, tmp_path / "another machine")
    heir.start()

    assert [state for _, _, state in exits_in_books(clean_db)] == ["filled"]
    assert clean_db.execute("select count(*) from positions").fetchone() == (0,)
    assert [status for _, status in sells(heir)] == ["filled"]
    assert clean_db.execute("select count(*) from reconciliation_findings where status = 'open'").fetchone() == (0,)
    heir.engine.lease.release()


@pytest.mark.parametrize("who_is_first", ["the one that is cut off", "the one that has taken over"])
def test_one_exit_is_sent_when_an_engine_is_cut_off_and_another_has_taken_over(
    who_is_first: str, holding: SteppedEngine, clean_db: psycopg.Connection, env: dict[str, str], tmp_path: Path
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    session = holding.engine.lease._leases._session
    connected, session._client = session._client, engine_client("http://127.0.0.1:9", env["SUPABASE_SECRET_KEY"])
    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")
    heir = stepped_engine(env, holding.exchange, tmp_path / "another machine")
    heir.start()

    acts = [lambda: holding.engine.monitor.run(holding.now()), heir.act]
    for act in acts if who_is_first == "the one that is cut off" else reversed(acts):
        act()
    holding.sim.step_minutes(10)
    for act in acts:
        act()

    assert [status for _, status in sells(heir)] == ["filled"]
    assert [state for _, _, state in exits_in_books(clean_db)] == ["filled"]
    assert holding.exchange.sim("GET", "ledger")["positions"] == {}
    session._client = connected
    holding.engine.clock.sleep(0.6)
    with pytest.raises(LeaseLost):
        holding.engine.offline.replay() or holding.act()
    heir.engine.lease.release()


def test_a_start_without_the_database_looks_after_what_the_state_file_tells(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection, env: dict[str, str], tmp_path: Path
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    holding.engine.snapshots.save_state(holding.now())
    clean_db.execute("update engine_leases set expires_at = clock_timestamp()")
    heir = stepped_engine(env, holding.exchange, tmp_path / "home")
    looks = iter([False, False, True])
    with away():
        assert not heir.engine.recovery.run(should_stop=lambda: next(looks))

        assert len(sells(heir)) == 1
    heir.sim.step_minutes(10)
    heir.start()

    assert [state for _, _, state in exits_in_books(clean_db)] == ["filled"]
    assert clean_db.execute("select count(*) from positions").fetchone() == (0,)
    heir.engine.lease.release()


def test_no_entry_is_asked_for_or_sent_while_the_database_is_away(
    stepped: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    stepped.engine.book.read()
    with away():
        for job in (lambda: stepped.engine.trader.tick(stepped.now()), stepped.engine.executor.submit_ready):
            with suppress(AuthorityUnavailable):
                job()

        assert stepped.orders_at_exchange() == []
    assert clean_db.execute("select count(*) from orders").fetchone() == (0,)
    stepped.engine.clock.sleep(0.6)
    stepped.act()
    assert len(stepped.orders_at_exchange()) > 0, "it wanted to enter all the time"


def test_an_engine_does_not_start_on_an_older_database_and_says_what_to_run(
    exchange: RunningExchange, clean_db: psycopg.Connection, env: dict[str, str], tmp_path: Path
) -> None:
    row = clean_db.execute("select pg_get_functiondef('public.schema_version'::regproc)").fetchone()
    assert row is not None
    clean_db.execute(row[0].replace(SCHEMA, "20261121130000"))
    try:
        with pytest.raises(ConfigError, match="supabase db push --workdir db"):
            stepped_engine(env, exchange, tmp_path / "home").start()
    finally:
        clean_db.execute(row[0])
    assert clean_db.execute("select count(*) from engine_leases").fetchone() == (0,)


def test_exits_are_not_sent_while_the_brake_is_on(
    holding: SteppedEngine, away: Callable, clean_db: psycopg.Connection
) -> None:
    move_the_stop_above_the_price(holding, clean_db)
    engine = holding.engine
    engine.settings.brake_path.parent.mkdir(parents=True, exist_ok=True)
    engine.settings.brake_path.touch()
    with away():
        engine.monitor.run(holding.now())

        assert sells(holding) == []
    assert Decimal(next(iter(holding.exchange.sim("GET", "ledger")["positions"].values()))) > 0
