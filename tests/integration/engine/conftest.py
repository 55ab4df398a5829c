"""A stepped engine on the real stack and a real exchange."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from supabase import Client

from db import commands
from engine.adapters.system_clock import SystemClock
from engine.api import build_api, listen, serving
from engine.service.health_tracker import HealthTracker
from engine.service.local_brake import LocalBrake
from tests.db.conftest import Engine
from tests.support.engine import EAGER_TO_ENTER, SteppedEngine, only_profile, stepped_engine
from tests.support.exchange import RunningExchange

PROFILE = "Alice dips hourly"


@pytest.fixture
def profile_id(clean_db: psycopg.Connection) -> str:
    """The one active profile: it enters AAPL on every new bar while it holds nothing."""
    return only_profile(clean_db, PROFILE, params=EAGER_TO_ENTER)


@pytest.fixture
def stepped(profile_id: str, env: dict[str, str], exchange: RunningExchange, tmp_path: Path) -> Iterator[SteppedEngine]:
    """A started engine in the middle of the first session."""
    stepped = stepped_engine(env, exchange, tmp_path / "home")
    stepped.sim.step_minutes(120)
    stepped.start()
    yield stepped
    stepped.engine.lease.release()


@pytest.fixture(scope="session")
def health(tmp_path_factory: pytest.TempPathFactory) -> HealthTracker:
    """The health of an engine that has just started and has not heard the authority yet."""
    brake = LocalBrake(tmp_path_factory.mktemp("engine") / "BRAKE")
    return HealthTracker(SystemClock(), brake, control_age_max_s=10)


@pytest.fixture(scope="session")
def served_api(env: dict[str, str], health: HealthTracker) -> Iterator[httpx.Client]:
    """The control API over the real authority, whatever its tables hold."""
    app = build_api(health, supabase_url=env["SUPABASE_URL"], publishable_key=env["SUPABASE_PUBLISHABLE_KEY"])
    with listen(0, "ENGINE_API_PORT") as listener, serving(app, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=10, trust_env=False, transport=httpx.HTTPTransport(retries=5)) as held:
            yield held


@pytest.fixture
def api(served_api: httpx.Client, clean_db: psycopg.Connection) -> httpx.Client:
    """The control API, with every table as it was after set-up."""
    return served_api


@pytest.fixture
def healthy_engine(clean_db: psycopg.Connection, service_client: Client) -> Iterator[Engine]:
    """An engine that reports as it should, and asks for entries when told to."""
    held = Engine(service_client, dict(clean_db.execute("select name, id from profiles").fetchall()))
    yield held
    commands.release_lease(service_client, shard=held.shard, token=held.token)


def bearer(client: Client) -> dict[str, str]:
    """Return the header with which a signed-in user calls the API."""
    session = client.auth.get_session()
    assert session is not None
    return {"Authorization": f"Bearer {session.access_token}"}
