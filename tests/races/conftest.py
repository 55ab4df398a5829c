"""A crowded floor: twelve profiles of two owners in three shards, and as many connections as a race needs.

RACE_FACTOR=full runs the figures that a release is held to; a number multiplies the quick sample that runs
by default.
"""

import copy
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Barrier
from typing import Any

import pytest

from db import commands
from tests.db.conftest import Engine
from tests.property.authority.direct import DirectClient
from tests.property.authority.invariants import Watch
from tests.property.authority.world import World, release_leases

SHARDS = ["main", "east", "west"]
SYMBOLS = [f"S{n}" for n in range(1, 33)]


def rounds(*, full: int, sample: int) -> int:
    """Return how many rounds a race runs."""
    factor = os.environ.get("RACE_FACTOR", "1")
    return full if factor == "full" else max(1, round(sample * float(factor)))


class Floor:
    """The authority with room for a crowd."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.admin = world.client("admin")
        world.fresh()
        world.engines["west"] = world.new_engine("west")
        self.watch = Watch(world.db)
        self.profiles: dict[str, list[str]] = {shard: [] for shard in SHARDS}
        for n in range(12):
            self._open_profile(n)
        for engine in world.engines.values():
            engine.profiles = world.profiles
        self.allow(position_limits={"positions_max": 1000, "open_orders_max": 1000})
        self._clients: list[DirectClient] = []
        self._days = {name: count(1) for name in world.profiles}

    def _open_profile(self, n: int) -> None:
        name, shard, owner = f"Crowd {n}", SHARDS[n % 3], "alice" if n % 2 else "bob"
        ((id,),) = self.world.rows(
            "insert into profiles (owner_id, name, strategy, symbols, shard, capital_usd)"
            " values (%s, %s, 'test', %s, %s, 25000) returning id",
            self.world.people[owner], name, ["AAPL", "IBM", *SYMBOLS], shard,
        )  # fmt: skip
        self.world.profiles = self.world.profiles | {name: id}
        self.profiles[shard].append(name)

    def allow(self, **sections: dict[str, Any]) -> None:
        """Change sections of the risk configuration."""
        active = commands.risk_config(self.admin)
        config = active.config | {name: active.config[name] | section for name, section in sections.items()}
        commands.update_risk_config(self.admin, config=config, expected_version=active.version, reason="Race")

    def engine(self, shard: str) -> Engine:
        """Return the shard's engine, on a connection of its own: one more thread of the same process."""
        twin = copy.copy(self.world.engines[shard])
        twin.client = self.client()  # type: ignore[assignment]
        return twin

    def client(self, person: str | None = None) -> Any:
        client = DirectClient(self.world.url, self.world.people[person] if person else None)
        self._clients.append(client)
        return client

    def entry(self, engine: Engine, profile: str, symbol: str, **changes: Any) -> dict[str, Any]:
        """Return an entry of 2,500 USD, each of a profile on a market day of its own."""
        at = (datetime(2007, 1, 3, 15, tzinfo=UTC) + timedelta(days=next(self._days[profile]))).isoformat()
        return engine.entry(
            profile, symbol=symbol, qty="25", limit_price="100", market_at=at, quote_at=at, signal=None,
            stop_loss_price=None, take_profit_price=None,
        ) | changes  # fmt: skip

    def clear(self) -> None:
        """End every open order, as if it had been withdrawn."""
        self.world.rows(
            "update orders set state = 'canceled'"
            " where state in ('ready', 'awaiting_approval', 'submitting', 'unknown', 'working') returning id"
        )

    def close(self) -> None:
        for client in self._clients:
            client.close()
        release_leases(self.world)
        self.world.profiles = {n: id for n, id in self.world.profiles.items() if not n.startswith("Crowd")}


@pytest.fixture(scope="module")
def world(env, _baseline) -> Iterator[World]:
    world = World(env["DATABASE_URL"], _baseline)
    yield world
    world.close()


@pytest.fixture
def floor(world) -> Iterator[Floor]:
    floor = Floor(world)
    yield floor
    floor.close()


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Start all acts at the same moment, each in a thread, and return their answers in order."""
    start = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        start.wait(timeout=20)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))
