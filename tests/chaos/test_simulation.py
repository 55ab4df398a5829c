"""The engine's services in worlds that a seed makes: pure Python, a virtual clock, and faults at every call.

SEEDS=20000 runs more of them; SEED=17 repeats one.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support.chaos_stage import scope
from tests.support.simulation import FAULTS, Simulation, silence

COUNTS = {"sample": 150, "full": 1000, "long": 10_000}


def wanted() -> range:
    if "SEED" in os.environ:
        return range(int(os.environ["SEED"]), int(os.environ["SEED"]) + 1)
    return range(int(os.environ.get("SEEDS", COUNTS[scope()])))


@pytest.mark.timeout(1800)
def test_nothing_is_lost_or_doubled_in_any_seeds_world(tmp_path: Path) -> None:
    struck: Counter[str] = Counter()
    orders, deaths = 0, 0
    with silence():
        for seed in wanted():
            world = Simulation(seed, tmp_path)
            problems = world.run()
            assert not problems, "\n".join([f"repeat: SEED={seed} pytest {__file__}", *problems])
            struck.update(world.chances.struck)
            orders, deaths = orders + len(world.broker.orders), deaths + world.deaths
    print(f"{len(wanted())} worlds, {orders} orders at the broker, {deaths} deaths; struck: {dict(struck)}")
    assert len(wanted()) < 50 or struck.keys() == FAULTS.keys(), "every fault was seen to strike"
