"""An engine brings an older database up to date when it is asked to, and only then."""

import shutil
from urllib.parse import urlsplit

import psycopg
import pytest

from engine.config import Settings
from engine.domain.versions import SCHEMA
from engine.upgrade import schema_check
from local import postgres
from local.migrations import BOOTSTRAP, MIGRATIONS, migrate
from tests.unit.engine.test_shard_session import Schema

NEWEST = max(MIGRATIONS.glob("*.sql"))


@pytest.fixture
def older(stack, db, tmp_path):
    """The owner's address of a database that lacks the newest migration; the others were pushed by the CLI."""
    for file in MIGRATIONS.glob("*.sql"):
        if file != NEWEST:
            shutil.copy(file, tmp_path)
    db.execute("drop database if exists older")
    db.execute("create database older")
    superuser = urlsplit(postgres.url(stack.home, postgres.SUPERUSER))._replace(path="/older").geturl()
    with psycopg.connect(superuser) as connection:
        connection.execute(BOOTSTRAP.read_text())
    address = urlsplit(stack.env["DATABASE_URL"])._replace(path="/older").geturl()
    migrate(address, tmp_path)
    with psycopg.connect(address) as connection:
        connection.execute(
            "update supabase_migrations.schema_migrations set statements = string_to_array(statements[1], ';')"
        )
    yield address
    db.execute("drop database older")


def settings(address: str) -> Settings:
    keys = dict.fromkeys(
        ("supabase_url", "supabase_publishable_key", "supabase_secret_key", "alpaca_api_key", "alpaca_secret_key"), "x"
    )
    return Settings(_env_file=None, **keys, database_url=address, engine_upgrade_db=True)


class Known(Schema):
    """Reads the database itself, as the gateway would."""

    def __init__(self, address: str) -> None:
        self.address = address

    def read(self):
        with psycopg.connect(self.address) as connection:
            row = connection.execute("select public.schema_version()").fetchone()
        return row[0]["schema"], row[0]["oldest_engine"]

    def read_until(self, schema):
        return self.read()


def test_it_is_brought_up_to_date_when_it_was_asked_for(older):
    known = Known(older)
    assert known.read()[0] < SCHEMA

    schema_check(known, settings(older))()

    assert known.read()[0] == SCHEMA
    with psycopg.connect(older) as connection:
        versions = connection.execute("select max(version) from supabase_migrations.schema_migrations").fetchone()
    assert versions == (SCHEMA,)
