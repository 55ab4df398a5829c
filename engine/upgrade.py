"""Whether the database fits this engine, and its upgrade when somebody has asked for it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from engine import __version__
from engine.adapters.supabase_authority import SupabaseSchema
from engine.config import Settings
from engine.domain.errors import ConfigError
from engine.domain.versions import SCHEMA, misfit

log = structlog.get_logger(__name__)


def schema_check(schema: SupabaseSchema, settings: Settings) -> Callable[[], None]:
    """Return a check that passes once and for all, upgrades when asked to, and raises ConfigError otherwise."""
    is_checked = False

    def check() -> None:
        nonlocal is_checked
        if is_checked:
            return
        known = schema.read()
        if settings.engine_upgrade_db and (known is None or known[0] < SCHEMA):
            _upgrade(settings)
            known = schema.read_until(SCHEMA)
        problem = misfit(version=__version__, schema=known and known[0], oldest_engine=known and known[1])
        if problem is not None:
            raise ConfigError(problem)
        is_checked = True

    return check


def _upgrade(settings: Settings) -> None:
    # Only who asks for it needs a connection to the database itself, and the migrations at hand.
    import psycopg

    from local.errors import SetupError
    from local.migrations import migrate

    if settings.database_url is None:
        raise ConfigError("To upgrade the database, set DATABASE_URL to its owner's connection.")
    url = settings.database_url.get_secret_value()
    try:
        applied = migrate(url)
        with psycopg.connect(url) as connection:
            connection.execute("notify pgrst, 'reload schema'")
    except (SetupError, psycopg.Error) as error:
        raise ConfigError(f"The database was not upgraded: {error}") from error
    log.warning("database upgraded", migrations=applied, schema=SCHEMA)
