"""The one place where the pages read this machine's clock. It never judges what the database decides."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present time, aware, UTC."""
    return datetime.now(UTC)
