"""Bring the database up to date: the platform's ground, our migrations, and the seed, each once.

Migrations are recorded as the Supabase CLI records them, so both agree about what was applied.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.errors import Error

from local.errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = Path(__file__).parent / "auth" / "bootstrap.sql"
MIGRATIONS = ROOT / "db" / "supabase" / "migrations"
SEED = ROOT / "db" / "supabase" / "seed.sql"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `<version>_<name>.sql`."""

    version: str
    name: str
    sql: str

    @classmethod
    def read(cls, file: Path) -> "Migration":
        """Read a file and split its name."""
        version, _, name = file.stem.partition("_")
        return cls(version, name, file.read_text())


def lay_ground(superuser_url: str) -> None:
    """Create the roles, schemas and functions that a hosted project has from the start."""
    with psycopg.connect(superuser_url) as connection:
        connection.execute(BOOTSTRAP.read_text())


def migrate(owner_url: str, folder: Path = MIGRATIONS) -> int:
    """Apply what is new, in order, each file in one transaction; return how many were applied.

    Raises
    ------
    SetupError when a file fails, or an applied one has been changed since
    """
    found = [Migration.read(file) for file in sorted(folder.glob("*.sql"))]
    with psycopg.connect(owner_url, autocommit=True) as connection:
        rows = connection.execute("select version, statements from supabase_migrations.schema_migrations").fetchall()
        applied: dict[str, list[str] | None] = dict(rows)
        for migration in found:
            if migration.version in applied:
                _require_unchanged(migration, applied[migration.version])
        waiting = [m for m in found if m.version not in applied]
        for migration in waiting:
            _apply(connection, migration)
    return len(waiting)


def seed(owner_url: str, file: Path = SEED) -> None:
    """Run the seed once; a later change of the file does not run it again."""
    if not file.exists():
        return
    text = file.read_text()
    path = "supabase/seed.sql"
    with psycopg.connect(owner_url) as connection:
        new = connection.execute(
            "insert into supabase_migrations.seed_files (path, hash) values (%s, %s) on conflict do nothing",
            (path, hashlib.sha256(text.encode()).hexdigest()),
        )
        if new.rowcount:
            connection.execute(text)


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.sql)
            connection.execute("reset all")  # what a file sets for itself ends with it
            connection.execute(
                "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)",
                (migration.version, migration.name, [migration.sql]),
            )
    except Error as e:
        raise SetupError(f"Migration {migration.version}_{migration.name} failed: {e}") from e


def _require_unchanged(migration: Migration, statements: list[str] | None) -> None:
    if statements is not None and len(statements) != 1:
        return  # applied by the Supabase CLI, which records each statement by itself
    if statements is not None and statements != [migration.sql]:
        raise SetupError(
            f"Migration {migration.version}_{migration.name} was changed after it was applied here. "
            "Applied migrations stay as they are; add a new one, or `make reset` for a fresh database."
        )
