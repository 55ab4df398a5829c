"""`db/schema` is what people read, `db/supabase/migrations` is what deploys: both build the same database."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local import postgres
from local.migrations import BOOTSTRAP, MIGRATIONS, ROOT
from local.stack import Stack

SCHEMA = ROOT / "db" / "schema"


@pytest.fixture
def empty_databases(db):
    """Two databases that hold nothing of ours."""
    names = ("built_from_schema", "built_from_migrations")
    for name in names:
        db.execute(f"drop database if exists {name}")
        db.execute(f"create database {name}")
    yield names
    for name in names:
        db.execute(f"drop database {name}")  # sends a vacuum worker away by itself; `force` may not


def build(stack: Stack, database: str, folder: Path) -> str:
    """Build a database from a folder's files and return it as pg_dump describes it."""
    superuser = urlsplit(postgres.url(stack.home, postgres.SUPERUSER))
    url = superuser._replace(path=f"/{database}").geturl()
    with psycopg.connect(url) as connection:
        connection.execute(BOOTSTRAP.read_text())
        for file in sorted(folder.glob("*.sql")):
            connection.execute(file.read_text())
    dump = [
        postgres.programs_folder() / "pg_dump",
        "--schema-only",
        "--restrict-key=test",
        "--schema=public",
        "--schema=private",
        url,
    ]
    return subprocess.run(dump, check=True, capture_output=True, text=True).stdout


def test_the_schema_files_and_the_migrations_build_the_same_database(stack, empty_databases):
    from_schema, from_migrations = empty_databases

    assert build(stack, from_schema, SCHEMA) == build(stack, from_migrations, MIGRATIONS)
