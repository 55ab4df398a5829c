"""The world of the authority's property tests: real connections to a real database, shared by a module."""

from collections.abc import Iterator

import pytest

from tests.property.authority.world import World

# So that a rule's failed assertion shows its values, as a test's does.
for rules in ("machine", "trading_rules", "time_rules", "people_rules", "engine_rules"):
    pytest.register_assert_rewrite(f"tests.property.authority.{rules}")


@pytest.fixture(scope="module")
def world(env, _baseline) -> Iterator[World]:
    world = World(env["DATABASE_URL"], _baseline)
    yield world
    world.close()
