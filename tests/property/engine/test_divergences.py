"""Whatever our books and the exchange disagree on, two passes bring them together, and a third writes nothing.

DIVERGENCES=500 makes five hundred of them instead of forty.
"""

import os
import random
from pathlib import Path

import psycopg
import pytest

from tests.property.engine.divergences import World, batch, impatient
from tests.support.books import differences
from tests.support.engine import stepped_engine
from tests.support.exchange import RunningExchange

BATCH = 40
BATCHES = -(-int(os.environ.get("DIVERGENCES", str(BATCH))) // BATCH)


@pytest.mark.parametrize("seed", range(BATCHES))
def test_books_and_exchange_agree_after_two_passes_and_a_third_writes_nothing(
    seed: int,
    clean_db: psycopg.Connection,
    env: dict[str, str],
    exchange: RunningExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.service.lease.TTL_S", 300)  # nobody renews it while the world is made
    stepped = stepped_engine(env, exchange, tmp_path / "home")
    clean_db.execute("update profiles set active = false")
    stepped.sim.step_minutes(60)
    stepped.start()
    impatient(stepped)
    rng = random.Random(seed)
    world = World(stepped, clean_db, rng)
    world.diverge(batch(rng, BATCH))

    world.converge()
    world.converge()

    problems = world.problems()
    assert not problems, "\n".join([*map(str, problems), str(world.happened)])
    assert differences(clean_db) == []
    before = world.fingerprint()
    world.converge()
    assert {name for name, value in world.fingerprint().items() if value != before[name]} == set()
    stepped.engine.lease.release()
