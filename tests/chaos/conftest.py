"""Engines that are killed, on the real stack and a real exchange.

SLICE=2/3 runs the second third of what was chosen, so that slices can run side by side.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from local import postgres
from local.home import Keys
from local.migrations import ROOT
from local.stack import Stack
from tests.support.chaos_process import Forked, fork_engine, fork_exchange
from tests.support.chaos_stage import Stage
from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_ENTER, only_profile
from tests.support.exchange import RunningExchange

StartEngine = Callable[..., Forked]
MakeStage = Callable[[random.Random], Stage]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep this slice's share of the chaos."""
    number, _, of = os.environ.get("SLICE", "1/1").partition("/")
    chaos = [item for item in items if item.path.is_relative_to(HERE)]
    others = [item for n, item in enumerate(chaos) if n % int(of) != int(number) - 1]
    config.hook.pytest_deselected(items=others)
    left_out = {id(item) for item in others}
    items[:] = [item for item in items if id(item) not in left_out]


class Exchanges:
    """Exchanges before their first session, on which nothing has happened; the next one starts in advance."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self._folder, self._keys, self._started = folder, keys, 0
        self._next = self._start()

    def take(self) -> RunningExchange:
        """Return one that answers."""
        taken, self._next = self._next, self._start()
        deadline = time.monotonic() + 60
        while not _answers(taken):
            assert time.monotonic() < deadline, "the exchange does not start"
            time.sleep(0.02)
        return taken

    def close(self) -> None:
        self._next.child.stop()

    def _start(self) -> RunningExchange:
        self._started += 1
        home = self._folder / f"{self._started}"
        home.mkdir()
        return fork_exchange(home, self._keys)


@pytest.fixture(scope="session")
def exchanges(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    """Where each test gets an exchange of its own."""
    made = Exchanges(tmp_path_factory.mktemp("exchanges"), stack.keys)
    yield made
    made.close()


@pytest.fixture
def exchange(exchanges: Exchanges) -> Iterator[RunningExchange]:
    """A fresh exchange, stepping, before its first session; its keys are those of `env`."""
    running = exchanges.take()
    yield running
    running.child.stop()


@pytest.fixture
def db(env: dict[str, str]) -> Iterator[psycopg.Connection]:
    """The owner's connection, a test's own: here the database itself may crash."""
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def eager_profile(clean_db: psycopg.Connection) -> str:
    """One profile that wants to enter AAPL at once; permits of two seconds keep the tests short."""
    # The exchange stands before its first session: the newest bar and quote are from before the holidays.
    limits = Jsonb({"permit_ttl_s": 2, "signal_bars_max": 1000, "quote_age_max_s": 864000})
    clean_db.execute(
        "update risk_configs set config = jsonb_set(config, '{order_limits}', config -> 'order_limits' || %s)", [limits]
    )
    return only_profile(clean_db, "Alice dips hourly", params=EAGER_TO_ENTER)


@pytest.fixture
def start_engine(
    eager_profile: str, env: dict[str, str], exchange: RunningExchange, tmp_path: Path
) -> Iterator[StartEngine]:
    """Return a function that starts an engine process; `crash_at` names where it kills itself."""
    started: list[Forked] = []

    def start(*, crash_at: str = "") -> Forked:
        started.append(fork_engine(env | exchange.env, tmp_path / "home", crash_at=crash_at))
        return started[-1]

    yield start
    for engine in started:
        engine.stop()


@pytest.fixture
def make_stage(
    clean_db: psycopg.Connection,
    env: dict[str, str],
    stack: Stack,
    sign_in: SignIn,
    exchanges: Exchanges,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[MakeStage]:
    """Return a function that makes the stage of a case, with an exchange of its own that nothing has happened on."""
    made: list[Stage] = []

    def make(rng: random.Random) -> Stage:
        exchange = exchanges.take()
        superuser_url = postgres.url(stack.home, postgres.SUPERUSER)
        stage = Stage(
            clean_db, env | exchange.env, exchange, sign_in, tmp_path, rng, superuser_url, stack.keys.jwt_secret
        )
        made.append(stage)
        name = request.node.name.partition("[")[2].rstrip("]") or request.node.name
        stage.tell(f"repeat: make chaos ARGS='{request.node.path.relative_to(ROOT)} -k {name}'")
        return stage

    yield make
    for stage in made:
        print("\n".join(stage.story))
        stage.close()


def _answers(exchange: RunningExchange) -> bool:
    try:
        return bool(exchange.sim("GET", "clock"))
    except httpx.HTTPError:
        return False
