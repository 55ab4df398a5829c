"""Migrations: each once, whole or not at all, and recorded as the Supabase CLI does."""

from pathlib import Path

import psycopg
import pytest

from local import migrations
from local.errors import SetupError


@pytest.fixture
def folder(tmp_path: Path, env: dict[str, str]) -> Path:
    """The project's own migrations, to which a test can add."""
    for file in migrations.MIGRATIONS.glob("*.sql"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


def test_every_migration_is_recorded_with_its_name_and_text(db: psycopg.Connection) -> None:
    rows = db.execute("select version, name, statements from supabase_migrations.schema_migrations").fetchall()

    files = {f"{version}_{name}.sql": statements for version, name, statements in rows}
    assert files == {file.name: [file.read_text()] for file in migrations.MIGRATIONS.glob("*.sql")}


def test_nothing_is_applied_twice(env: dict[str, str]) -> None:
    assert migrations.migrate(env["DATABASE_URL"]) == 0


def test_nothing_of_a_migration_stays_when_it_fails(folder: Path, env: dict[str, str], db: psycopg.Connection) -> None:
    (folder / "29990101000000_broken.sql").write_text("create table public.half (); select 1/0;")

    with pytest.raises(SetupError, match="29990101000000_broken failed: division by zero"):
        migrations.migrate(env["DATABASE_URL"], folder)

    assert db.execute("select to_regclass('public.half')").fetchone() == (None,)
    recorded = db.execute("select count(*) from supabase_migrations.schema_migrations where version > '2999'")
    assert recorded.fetchone() == (0,)


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(folder: Path, env: dict[str, str]) -> None:
    first = min(folder.glob("*.sql"))
    first.write_text(first.read_text() + "\n-- changed")

    with pytest.raises(SetupError, match="was changed after it was applied"):
        migrations.migrate(env["DATABASE_URL"], folder)


def test_the_seed_runs_once(env: dict[str, str], clean_db: psycopg.Connection) -> None:
    before = clean_db.execute("select count(*) from public.profiles").fetchone()

    migrations.seed(env["DATABASE_URL"])

    assert clean_db.execute("select count(*) from public.profiles").fetchone() == before


def test_migrations_run_without_superuser_rights(db: psycopg.Connection) -> None:
    assert db.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)
