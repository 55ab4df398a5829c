"""The local brake: a file whose existence stops the engine, whatever the database says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path


class LocalBrake:
    """Works without database, network or running engine. Protective orders stay at the broker."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_on(self) -> bool:
        return self.path.exists()

    def turn_on(self, reason: str, at: datetime) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"{at.isoformat()} {reason}\n", encoding="utf-8")

    def turn_off(self) -> None:
        self.path.unlink(missing_ok=True)
