"""What users keep beside the ledger: watchlists and headlines of their own, in one SQLite file.

The file comes into being with the first thing that is kept. It has no money in it; deleting it
loses the lists and nothing else.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

_SCHEMA = """
create table if not exists watchlists (
    id         text primary key,
    account_id text not null,
    name       text not null,
    symbols    text not null,  -- JSON list, in the order they were added
    created_at text not null,
    updated_at text not null,
    unique (account_id, name)
) strict;
create table if not exists headlines (
    id        integer primary key,
    ledger_id text not null,
    at        text not null,
    body      text not null
) strict;
create index if not exists headlines_by_time on headlines (ledger_id, at);
"""


class NameTaken(Exception):
    """The account has a watchlist of that name."""


@dataclass(frozen=True, slots=True)
class Watchlist:
    """An ordered list of symbols; times are simulated ones."""

    id: str
    account_id: str
    name: str
    symbols: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


class Shelf:
    """Reads and writes of the file; opened when first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self) -> None:
        if "_db" in self.__dict__:
            self._db.close()

    def watchlists(self, account_id: str) -> list[Watchlist]:
        return self._read("account_id = ? order by created_at, name", account_id)

    def watchlist(self, account_id: str, id: str) -> Watchlist | None:
        return next(iter(self._read("account_id = ? and id = ?", account_id, id)), None)

    def put(self, kept: Watchlist) -> None:
        """Keep a new watchlist, or the new state of an old one.

        Raises
        ------
        NameTaken if another list of the account has the name
        """
        row = (kept.id, kept.account_id, kept.name, json.dumps(kept.symbols))
        try:
            self._db.execute(
                "insert into watchlists (id, account_id, name, symbols, created_at, updated_at)"
                " values (?, ?, ?, ?, ?, ?) on conflict (id) do update set"
                " name = excluded.name, symbols = excluded.symbols, updated_at = excluded.updated_at",
                (*row, kept.created_at.isoformat(), kept.updated_at.isoformat()),
            )
        except sqlite3.IntegrityError as error:
            raise NameTaken(kept.name) from error

    def drop(self, kept: Watchlist) -> None:
        self._db.execute("delete from watchlists where id = ?", (kept.id,))

    def add_headline(self, ledger_id: str, at: datetime, body: dict[str, Any]) -> int:
        """Keep a headline; return its number."""
        cursor = self._db.execute(
            "insert into headlines (ledger_id, at, body) values (?, ?, ?)",
            (ledger_id, _time_key(at), json.dumps(body)),
        )
        return int(cursor.lastrowid or 0)

    def headlines(self, ledger_id: str, start: datetime, end: datetime) -> list[tuple[int, datetime, dict[str, Any]]]:
        """Return the headlines of a time, both ends included, oldest first."""
        if not self._exists:
            return []
        rows = self._db.execute(
            "select id, at, body from headlines where ledger_id = ? and at between ? and ? order by at, id",
            (ledger_id, _time_key(start), _time_key(end)),
        )
        return [(id, datetime.fromisoformat(at), json.loads(body)) for id, at, body in rows]

    @property
    def _exists(self) -> bool:
        return "_db" in self.__dict__ or self.path.exists()

    @cached_property
    def _db(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("pragma journal_mode = wal")
        db.executescript(_SCHEMA)
        return db

    def _read(self, where: str, *values: str) -> list[Watchlist]:
        if not self._exists:
            return []
        columns = "id, account_id, name, symbols, created_at, updated_at"
        return [_watchlist(row) for row in self._db.execute(f"select {columns} from watchlists where {where}", values)]


def _watchlist(row: Sequence[str]) -> Watchlist:
    id, account_id, name, symbols, created_at, updated_at = row
    times = datetime.fromisoformat(created_at), datetime.fromisoformat(updated_at)
    return Watchlist(id, account_id, name, tuple(json.loads(symbols)), *times)


def _time_key(at: datetime) -> str:
    """Return a UTC time as text that sorts."""
    return at.isoformat(timespec="microseconds")
