"""An engine that is older than the schema opens no positions, and still closes them."""

import pytest

from db import commands
from db.errors import AuthorityError
from engine import __version__
from local.migrations import MIGRATIONS


def beat(engine, version):
    commands.heartbeat(
        engine.client, shard=engine.shard, token=engine.token, version=version,
        market_at=None, jobs={}, detail={}, ttl_s=300,
    )  # fmt: skip


def test_the_schema_is_called_after_the_newest_migration(engine):
    known = commands.schema_version(engine.client)

    assert known.schema_ == max(file.stem.partition("_")[0] for file in MIGRATIONS.glob("*.sql"))


@pytest.mark.parametrize("version", ["0.1.0", "0.1.99", "0.0.1", "0.1"])
def test_no_entry_is_permitted_and_the_message_says_why_when_the_engine_is_older(engine, version):
    asked = engine.ask_one()
    beat(engine, version)

    with pytest.raises(AuthorityError, match=rf"version {version}.*0\.2\.0") as refused:
        engine.claim()

    assert refused.value.code == "ENGINE_OUTDATED"
    assert "install the current version" in (refused.value.hint or "")
    beat(engine, __version__)
    assert [order.id for order in engine.claim()] == [asked.id]


def test_exits_are_permitted_when_the_engine_is_older(engine):
    held = engine.held()
    wanted = engine.exit(held.id)
    engine.ask_one("Bob trend hourly", symbol="IBM")
    beat(engine, "0.1.0")

    assert [order.id for order in engine.claim()] == [wanted.id]


@pytest.mark.parametrize("version", ["0.2.0", "0.2.1", "0.10.0", "1.0", "0.2.0rc1", "a tool", ""])
def test_entries_are_permitted_when_the_engine_is_current_or_no_engine_at_all(engine, version):
    asked = engine.ask_one()
    beat(engine, version)

    assert [order.id for order in engine.claim()] == [asked.id]
