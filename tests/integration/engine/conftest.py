"""A stepped engine on the real stack and a real exchange."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

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
