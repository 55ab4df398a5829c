"""Sessions on the server's side: the browser holds an opaque id, this file holds the tokens.

The file knows ids only as hashes, and tokens only encrypted under a key that is made from the id.
Who takes the file alone can neither name a session nor use its tokens.
"""

import hashlib
import json
import secrets
import sqlite3
import threading
from base64 import urlsafe_b64encode
from collections import defaultdict
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography.fernet import Fernet

from db.auth import Login

LIFETIME = timedelta(hours=24)

_SCHEMA = """
create table if not exists sessions (
    id_hash text primary key,
    tokens  blob not null,
    ends_at integer not null
)
"""


class SessionStore:
    """Sessions in one SQLite file, readable by its owner only. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute(_SCHEMA)
        self._db_lock = threading.Lock()
        self._login_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def create(self, login: Login, now: datetime) -> str:
        """Keep a login and return the opaque id that names it."""
        session_id = secrets.token_urlsafe(32)
        ends_at = int((now + LIFETIME).timestamp())
        self._execute("delete from sessions where ends_at <= ?", int(now.timestamp()))
        self._execute(
            "insert into sessions (id_hash, tokens, ends_at) values (?, ?, ?)",
            _hash(session_id), _seal(session_id, login), ends_at,
        )  # fmt: skip
        return session_id

    def get(self, session_id: str, now: datetime) -> Login | None:
        """Return the login that an id names; None when there is none or its time is over."""
        row = self._execute(
            "select tokens from sessions where id_hash = ? and ends_at > ?", _hash(session_id), int(now.timestamp())
        )
        return _open(session_id, row[0]) if row else None

    def replace(self, session_id: str, login: Login) -> None:
        """Put fresh tokens in place of used ones; a session that was ended meanwhile stays ended."""
        self._execute("update sessions set tokens = ? where id_hash = ?", _seal(session_id, login), _hash(session_id))

    def delete(self, session_id: str) -> None:
        """End a session."""
        self._execute("delete from sessions where id_hash = ?", _hash(session_id))
        self._login_locks.pop(_hash(session_id), None)

    def lock(self, session_id: str) -> threading.Lock:
        """Return the lock under which one session's tokens are refreshed: a refresh token works once."""
        with self._db_lock:
            return self._login_locks[_hash(session_id)]

    def _execute(self, sql: str, *values: str | int | bytes) -> tuple[bytes] | None:
        with self._db_lock:
            row: tuple[bytes] | None = self._db.execute(sql, values).fetchone()
            return row


def _hash(session_id: str) -> str:
    return hashlib.sha256(f"name:{session_id}".encode()).hexdigest()


def _cipher(session_id: str) -> Fernet:
    return Fernet(urlsafe_b64encode(hashlib.sha256(f"tokens:{session_id}".encode()).digest()))


def _seal(session_id: str, login: Login) -> bytes:
    return _cipher(session_id).encrypt(json.dumps(asdict(login), default=str).encode())


def _open(session_id: str, sealed: bytes) -> Login:
    values = json.loads(_cipher(session_id).decrypt(sealed))
    return Login(**{**values, "user_id": UUID(values["user_id"])})
