"""The journal: what is done without the authority is on the disk before it is done."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from engine.domain.journal import Act, FromTheFuture, decode, encode
from engine.ports.clock import Clock

KEPT_MAX: Final = 20  # journals that were told, for people to read
log = structlog.get_logger(__name__)


class Journal:
    """Appends survive a crash. When the disk fails they are kept in memory and tried again: an exit is
    never held back by a full disk, entries are (`report` is told what is wrong, or None once all is well).
    """

    def __init__(self, path: Path, clock: Clock, report: Callable[[str | None], None]) -> None:
        self.path = path
        self._clock = clock
        self._report = report
        self._lock = threading.RLock()
        self._file: int | None = None
        self._acts: list[Act] | None = None  # None: what an earlier process left was not read yet
        self._unwritten: list[Act] = []

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing that the authority has to be told."""
        return self._acts == [] or not self.acts()

    def append(self, act: Act) -> None:
        """Write an act down and wait until it is on the disk."""
        with self._lock:
            self.acts()  # what an earlier process left comes first
            self._unwritten.append(act)
            if self._acts is not None:
                self._acts.append(act)
            try:
                self._write_out()
            except OSError as error:
                self._report(disk_problem(self.path, error))
                log.error("journal cannot be written, acts are kept in memory", path=str(self.path), error=str(error))
            else:
                self._report(None)

    def acts(self) -> list[Act]:
        """Return every act that the authority has not been told of, an earlier process's included.

        A journal of a newer engine, or one with damaged lines, is kept aside with a message.
        """
        with self._lock:
            if self._acts is None:
                try:
                    if self.path.exists():
                        self._open()
                    self._acts = self._read()
                except OSError as error:  # unreadable, or another engine of this machine has it open and tells it
                    self._report(disk_problem(self.path, error))
                    return list(self._unwritten)
            return list(self._acts)

    def close_chapter(self) -> None:
        """Put what was told aside and begin anew."""
        with self._lock:
            self._acts, self._unwritten = [], []
            if self._file is not None:
                self._set_aside("told")
            self._close()

    def _read(self) -> list[Act]:
        try:
            decoded = decode(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except FromTheFuture as error:
            log.error("journal is not used", path=str(self.path), reason=str(error), kept_as=self._set_aside("refused"))
            self._close()
            return []
        if decoded.damaged:
            log.error("journal has damaged lines, all others are used", path=str(self.path), lines=decoded.damaged)
        return list(decoded.acts)

    def _write_out(self) -> None:
        file = self._open()
        data = b"".join(encode(act) for act in self._unwritten)
        try:
            written = os.write(file, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except OSError:
            self._close()  # opening it again ends a half line
            raise
        self._unwritten.clear()

    def _open(self) -> int:
        """Open the file for this process alone; a torn last line gets its end, so that the next stays whole."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":
                    os.write(file, b"\n")
                sync_folder(self.path.parent)
            except OSError:
                os.close(file)
                raise
            self._file = file
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _set_aside(self, why: str) -> str:
        return set_aside(self.path, why, self._clock)


def disk_problem(path: Path, error: OSError) -> str:
    """Return the message for whoever runs the machine."""
    if error.errno in (errno.EAGAIN, errno.EACCES) and error.filename is None:
        return (
            f"{path} is in use by another engine of this machine. Give each shard one engine, or LOCAL_HOME of its own."
        )
    if error.errno == errno.ENOSPC:
        return f"{path} cannot be written: the disk is full. Free space there; no position is opened until then."
    return f"{path} cannot be written ({error.strerror}). Make the folder writable; no position is opened until then."


def set_aside(path: Path, why: str, clock: Clock) -> str:
    """Rename a file so that it is out of the way and can still be read; old ones go. Return its new name."""
    aside = path.with_name(f"{path.stem}-{why}-{clock.now():%Y%m%dT%H%M%S%f}{path.suffix}")
    path.replace(aside)
    sync_folder(path.parent)
    for old in sorted(path.parent.glob(f"{path.stem}-{why}-*{path.suffix}"))[:-KEPT_MAX]:
        old.unlink(missing_ok=True)
    return str(aside)


def write_durably(path: Path, text: str) -> None:
    """Replace a file so that a crash leaves the old one or the new one, never half of one.

    Raises
    ------
    OSError when the disk is full or the folder cannot be written; the old file stays
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
