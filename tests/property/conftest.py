"""The world of the authority's property tests: real connections to a real database, shared by a module."""

from collections.abc import Iterator

import pytest

from tests.property.authority.world import World


@pytest.fixture(scope="module")
def world(env, _baseline) -> Iterator[World]:
    world = World(env["DATABASE_URL"], _baseline)
    yield world
    world.close()
