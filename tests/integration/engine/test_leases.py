"""One engine per shard, and nobody writes with a stale token."""

from pathlib import Path

import pytest

from engine.domain.errors import LeaseLost
from tests.support.engine import SteppedEngine, stepped_engine


def test_a_second_engine_waits_when_the_lease_is_held(
    stepped: SteppedEngine, env: dict[str, str], tmp_path: Path
) -> None:
    other = stepped_engine(env, stepped.exchange, tmp_path / "other")
    looks = iter([False, False, True])

    assert not other.engine.recovery.run(should_stop=lambda: next(looks))


def test_a_stale_engine_may_not_write_when_another_has_taken_over(
    stepped: SteppedEngine, env: dict[str, str], tmp_path: Path
) -> None:
    stepped.engine.lease.release()
    other = stepped_engine(env, stepped.exchange, tmp_path / "other")
    other.start()

    with pytest.raises(LeaseLost):
        stepped.act()

    other.engine.lease.release()
