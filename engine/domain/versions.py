"""Whether this engine and the database's schema fit each other."""

from __future__ import annotations

from typing import Final

# The version of the newest migration that this engine was written against.
SCHEMA: Final = "20261201050000"


def misfit(*, version: str, schema: str | None, oldest_engine: str | None) -> str | None:
    """Return why an engine may not run on a database, and what to do; None when it may.

    Parameters
    ----------
    version : the engine's, such as 0.2.0
    schema, oldest_engine : what the database says of itself; None when it is too old to say
    """
    if schema is None or schema < SCHEMA:
        return (
            f"The database's schema ({schema or 'older'}) is older than this engine's ({SCHEMA}). It is not upgraded "
            "unless you ask: run `supabase db push --workdir db`, or set DATABASE_URL to the owner's connection and "
            "start once with `python -m engine --upgrade` (or ENGINE_UPGRADE_DB=1)."
        )
    if oldest_engine is not None and parts(version) < parts(oldest_engine):
        return (
            f"This engine ({version}) is older than the database allows ({oldest_engine} and newer): it would get no "
            "permit for entries. Install the current version, then start it again."
        )
    return None


def parts(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers: (0, 10, 1) for 0.10.1 and for 0.10.1rc2."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
