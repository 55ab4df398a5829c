"""The engine's own state in a file: enough to look after what is open while the database cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from engine.domain.book import OpenTrade, Order, Profile, Snapshot
from engine.domain.journal import checksum

FORMAT: Final = 2
# What was open longer ago than this may be anything by now: people look first.
AGE_MAX: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotState:
    """What was open at `saved_at` (this machine's time), as lease number `token` of the shard knew it.

    Profiles and the risk configuration are there for the exit rules alone. `halted`: as of TradingControl.
    """

    shard: str
    token: int
    saved_at: datetime
    market_at: datetime
    trades: tuple[OpenTrade, ...]
    orders: tuple[Order, ...]
    profiles: tuple[Profile, ...] = ()
    risk_config: Mapping[str, Any] = field(default_factory=dict)
    halted: frozenset[tuple[str, str]] = frozenset()

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(
            profiles=self.profiles, trades=self.trades, orders=self.orders, risk_config=dict(self.risk_config)
        )


_STATES: Final = TypeAdapter(BotState)


class StateRefused(Exception):
    """The file is not used; the message says why."""


def encode_state(state: BotState) -> str:
    """Return a state as the text of its file."""
    body = json.dumps(_STATES.dump_python(state, mode="json"), separators=(",", ":"))
    return f'{{"format":{FORMAT},"checksum":"{checksum(body.encode())}","state":{body}}}\n'


def decode_state(text: str, *, shard: str, now: datetime) -> BotState:
    """Read a state's file.

    Raises
    ------
    StateRefused when it is damaged, another shard's, of an older or a newer format, or too old
    """
    try:
        document: Any = json.loads(text)
        kept = document["format"]
    except (ValueError, KeyError, TypeError):
        raise StateRefused("it is damaged: no whole JSON object with a format") from None
    if kept != FORMAT:
        age = "a newer" if isinstance(kept, int) and kept > FORMAT else "an older"
        raise StateRefused(f"{age} engine has written it (format {kept}, this engine reads {FORMAT})")
    state = _checked(document)
    if state.shard != shard:
        raise StateRefused(f"it is of shard {state.shard}, and this engine runs {shard}")
    if now - state.saved_at > AGE_MAX:
        raise StateRefused(f"it is older than {AGE_MAX.days} days (saved {state.saved_at:%Y-%m-%d %H:%M:%SZ})")
    return state


def _checked(document: Mapping[str, Any]) -> BotState:
    body = json.dumps(document.get("state"), separators=(",", ":"))
    if document.get("checksum") != checksum(body.encode()):
        raise StateRefused("it is damaged: its checksum does not match")
    try:
        return _STATES.validate_python(document["state"])
    except ValidationError as error:
        raise StateRefused(f"it is damaged: {error.error_count()} fields cannot be read") from error
