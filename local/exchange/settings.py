"""How one exchange process is set up."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from local.exchange.http.keys import Access
from local.exchange.market.own_bars import BarsProblem, load_own_tape
from local.exchange.market.tape import Tape, load_tape
from local.exchange.trading.matching import FillProfile

BUILT_IN = "the built-in bars"
START_DEFAULT = date(2007, 1, 3)


class SetupProblem(Exception):
    """The exchange cannot start: the message tells the user what to do."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that the command line and the environment decide.

    Port 0 means any free one. Without `bars` the exchange replays the built-in tape. Without
    `first_day` a new ledger begins in 2007, or as early as one's own bars allow.
    """

    home: Path
    port: int
    first_day: date | None
    seed: int
    seconds_per_session: float
    profile: FillProfile
    access: Access
    bars: Path | None = None
    runs: bool = False  # whether the clock is started, whatever it did before

    @property
    def ledger_path(self) -> Path:
        return self.home / "exchange" / "ledger.sqlite"

    @property
    def port_path(self) -> Path:
        return self.home / "exchange" / "port"

    @property
    def start(self) -> date:
        """The first session of a new ledger."""
        return self.first_day or (self.tape.calendar[1].date if self.bars else START_DEFAULT)

    @cached_property
    def tape(self) -> Tape:
        """Return the tape to replay, the one that the ledger was begun with.

        Raises
        ------
        SetupProblem if the bars cannot be used, or the ledger knows others
        """
        try:
            tape = load_own_tape(self.bars) if self.bars else load_tape()
        except BarsProblem as problem:
            raise SetupProblem(str(problem)) from problem
        self._hold_to_ledger()
        return tape

    def _hold_to_ledger(self) -> None:
        """Note which bars a new ledger begins with: in an old one, sessions are known by number."""
        note = self.home / "exchange" / "tape.json"
        wanted = [_fingerprint(self.bars), self.bars.name if self.bars else BUILT_IN]
        if self.ledger_path.exists():
            known = json.loads(note.read_text()) if note.exists() else [BUILT_IN, BUILT_IN]
            if known[0] != wanted[0]:
                raise SetupProblem(
                    f"the ledger in {self.home} was begun with {known[1]}, as it was then:"
                    " start it with those bars, or choose another --home"
                )
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(wanted))


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


def _fingerprint(bars: Path | None) -> str:
    return hashlib.sha256(bars.read_bytes()).hexdigest() if bars else BUILT_IN


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
