"""What the engine did while the authority could not be reached: lines that survive a crash, and their sum.

A line is a checksum, a space and one JSON object. A crash can tear the last line only; a full disk can leave
half a line before a whole one. Both are passed by: what was torn was not acted on yet, since every act is
written before it is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from engine.domain.book import Purpose
from engine.domain.submission import Outcome, Submission

FORMAT: Final = 1
_CHECKSUM_LENGTH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineExit:
    """An exit or a protective stop as it goes to the broker; `id` is its client order id there."""

    id: str
    trade_id: str
    symbol: str
    side: str
    purpose: Purpose
    qty: Decimal
    order_type: str
    stop_price: Decimal | None
    exit_reason: str
    reason: str
    market_at: datetime
    replaces_broker_id: str | None = None  # the resting stop whose place it takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """Written before an exit is sent. `at` is this machine's time, for people."""

    at: datetime
    exit: OfflineExit
    kind: Literal["intended"] = "intended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Written before a protective order is cancelled, so that an exit may have its shares."""

    at: datetime
    trade_id: str
    broker_order_id: str
    kind: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the broker said about an order, of the journal's or of one that was claimed before."""

    at: datetime
    submission: Submission
    kind: Literal["answered"] = "answered"


Act = Intended | Cancelled | Answered
_ACTS: Final[TypeAdapter[Act]] = TypeAdapter(Annotated[Act, Field(discriminator="kind")])


class FromTheFuture(Exception):
    """A newer engine wrote this; the message says so. Install that version, or a newer one."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The acts of a journal; `damaged` are the numbers, from 1, of the lines that cannot be read."""

    acts: tuple[Act, ...]
    damaged: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What the authority has to hear: exits with their answer, and answers to orders that it knows."""

    exits: tuple[tuple[OfflineExit, Submission], ...]
    submissions: tuple[Submission, ...]


def encode(act: Act) -> bytes:
    """Return an act as one line."""
    body = json.dumps({"format": FORMAT, **_ACTS.dump_python(act, mode="json")}, separators=(",", ":")).encode()
    return checksum(body).encode() + b" " + body + b"\n"


def decode(data: bytes) -> Decoded:
    """Read a journal's acts; a torn or damaged line is passed by.

    Raises
    ------
    FromTheFuture when a newer engine has written a line
    """
    acts: list[Act] = []
    damaged: list[int] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line:
            continue
        act = _decode_line(line)
        if act is None:
            damaged.append(number)
        else:
            acts.append(act)
    return Decoded(tuple(acts), tuple(damaged))


def checksum(body: bytes) -> str:
    """Return the checksum of a text that is to be kept in a file."""
    return sha256(body).hexdigest()[:_CHECKSUM_LENGTH]


def fold(acts: Iterable[Act]) -> Told:
    """Sum acts up. Repeats and the order of the acts make no difference.

    An exit that was written down and never answered counts as unknown: it may have been sent.
    """
    intents: dict[str, Intended] = {}
    answers: dict[str, Submission] = {}
    for act in acts:
        if isinstance(act, Intended):
            before = intents.get(act.exit.id, act)
            intents[act.exit.id] = min(before, act, key=_age)
        elif isinstance(act, Answered):
            answer = act.submission
            answers[answer.id] = max(answers.get(answer.id, answer), answer, key=_knowledge)
    exits = [_told(intent.exit, answers.get(key)) for key, intent in sorted(intents.items())]
    others = [answer for key, answer in sorted(answers.items()) if key not in intents]
    return Told(tuple(exits), tuple(others))


def _decode_line(line: bytes) -> Act | None:
    given, _, body = line.partition(b" ")
    if given != checksum(body).encode():
        return None
    document: dict[str, Any] = json.loads(body)
    if document.pop("format", 0) > FORMAT:
        raise FromTheFuture(f"a newer engine has written it: its format is above {FORMAT}")
    try:
        return _ACTS.validate_python(document)
    except ValidationError:
        return None


def _told(exit_: OfflineExit, answer: Submission | None) -> tuple[OfflineExit, Submission]:
    if answer is None:
        reason = "Sent while the database could not be reached; its fate is being looked up."
        return exit_, Submission(id=exit_.id, outcome=Outcome.UNKNOWN, code="LOOKING_UP", reason=reason)
    if answer.order is not None:  # two attempts may have differed: the broker says which it took
        return replace(exit_, qty=answer.order.qty), answer
    return exit_, answer


def _age(intent: Intended) -> tuple[Any, ...]:
    return (intent.at, intent.exit.qty, encode(intent))


def _knowledge(answer: Submission) -> tuple[Any, ...]:
    """Order answers by how much they tell: the latest word of the broker last."""
    order = answer.order
    rank = _RANKS.index(answer.outcome)
    text = sha256(_SUBMISSIONS.dump_json(answer)).hexdigest()
    if order is None:
        return (rank, 0, Decimal(0), "", text)
    return (rank, int(not order.is_open), order.filled_qty, order.updated_at.isoformat(), text)


_RANKS: Final[Sequence[Outcome]] = (Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.REJECTED, Outcome.ACCEPTED)
_SUBMISSIONS: Final = TypeAdapter(Submission)
