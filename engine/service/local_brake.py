"""The local brake: a file whose existence stops the engine, whatever the database says."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from engine.service.journal import sync_folder


class LocalBrake:
    """Works without database, network, running engine, or space on the disk. Protective orders stay at the broker."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_on(self) -> bool:
        """Tell whether anything lies there, be it empty or a folder; what cannot be looked at counts as on."""
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def turn_on(self, reason: str, at: datetime, who: str = "") -> None:
        """Stop everything. The reason is for people: a full disk that does not take it changes nothing.

        Raises
        ------
        OSError when not even an empty file can be made; `mkdir` or `touch` of the same path by root still work
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        with suppress(OSError):
            said = f"{who}: {reason}" if who else reason
            self.path.write_text(f"{at:%Y-%m-%d %H:%M:%SZ} {said}\n", encoding="utf-8")
        with suppress(OSError):
            sync_folder(self.path.parent)

    def turn_off(self) -> None:
        """Let the engine send again.

        Raises
        ------
        OSError when what lies there cannot be removed; it stays on
        """
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def describe(self) -> str | None:
        """Return when, who and why; None while it is off."""
        if not self.is_on:
            return None
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip() or "no reason given"
        except OSError:
            return "no reason given"
