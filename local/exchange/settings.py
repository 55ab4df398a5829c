"""How one exchange process is set up."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from local.exchange.http.keys import Access
from local.exchange.trading.matching import FillProfile


class SetupProblem(Exception):
    """The exchange cannot start: the message tells the user what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that the command line and the environment decide; port 0 means any free one."""

    home: Path
    port: int
    start: date
    seed: int
    seconds_per_session: float
    profile: FillProfile
    access: Access

    @property
    def ledger_path(self) -> Path:
        return self.home / "exchange" / "ledger.sqlite"

    @property
    def port_path(self) -> Path:
        return self.home / "exchange" / "port"


def account_keys(home: Path, key_id: str | None, secret_key: str | None) -> tuple[str, str]:
    """Return the account's key pair: the given one, else the one made for this home before.

    Raises
    ------
    SetupProblem if only one half is given, or the kept pair cannot be read
    """
    if key_id and secret_key:
        return key_id, secret_key
    if key_id or secret_key:
        raise SetupProblem("set both ALPACA_API_KEY and ALPACA_SECRET_KEY, or neither of them")
    path = home / "exchange" / "keys.json"
    if not path.exists():
        _write_private(path, json.dumps([f"PK{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30)]))
    try:
        kept_id, kept_secret = json.loads(path.read_text())
    except ValueError as error:
        raise SetupProblem(f"{path} is damaged: delete it to have new keys made") from error
    return str(kept_id), str(kept_secret)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
