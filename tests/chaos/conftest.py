"""Engines that are killed, on the real stack and a real exchange."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from local import postgres
from local.migrations import ROOT
from local.processes import Child
from local.stack import Stack
from tests.support.chaos_process import fork_exchange
from tests.support.chaos_stage import Stage
from tests.support.clients import SignIn
from tests.support.engine import EAGER_TO_ENTER, only_profile, start_engine_process
from tests.support.exchange import RunningExchange

StartEngine = Callable[..., Child]
MakeStage = Callable[[random.Random], Stage]


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
    started: list[Child] = []

    def start(*, crash_at: str = "") -> Child:
        started.append(start_engine_process(env, exchange, tmp_path / "home", crash_at=crash_at))
        return started[-1]

    yield start
    for child in started:
        child.stop()


@pytest.fixture
def make_stage(
    clean_db: psycopg.Connection,
    env: dict[str, str],
    stack: Stack,
    sign_in: SignIn,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[MakeStage]:
    """Return a function that makes the stage of a case, with an exchange of its own that nothing has happened on."""
    made: list[Stage] = []

    def make(rng: random.Random) -> Stage:
        exchange = fork_exchange(tmp_path, stack.keys)
        superuser_url = postgres.url(stack.home, postgres.SUPERUSER)
        stage = Stage(clean_db, env | exchange.env, exchange, sign_in, tmp_path, rng, superuser_url)
        made.append(stage)
        name = request.node.name.partition("[")[2].rstrip("]") or request.node.name
        stage.tell(f"repeat: make chaos ARGS='{request.node.path.relative_to(ROOT)} -k {name}'")
        stage.wait(lambda: _answers(exchange), "the exchange answers", 30)
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
