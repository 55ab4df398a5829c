"""Notices of alerts on their way out: which go together in one message, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

BODY_CHARS_MAX: Final = 1_900  # Discord takes 2,000, and refuses what is longer
TOGETHER_FROM: Final = 4  # so many notices at once become one message: a storm does not hold itself up


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notice of the outbox. `token` fences its claim; `delivered_to` names the targets that have it."""

    id: str
    token: int
    severity: str
    event: str
    title: str
    body: str
    delivered_to: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a target receives: one notice, or several in one."""

    notices: tuple[Notice, ...]
    title: str
    body: str

    @property
    def is_critical(self) -> bool:
        return any(notice.severity == "critical" and notice.event == "opened" for notice in self.notices)

    @property
    def is_good_news(self) -> bool:
        return all(notice.event == "resolved" for notice in self.notices)

    @property
    def delivered_to(self) -> frozenset[str]:
        return self.notices[0].delivered_to


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of sending a notice; `error` None when every target has it."""

    notice: Notice
    delivered_to: frozenset[str]
    error: str | None


def messages_of(notices: Sequence[Notice]) -> list[Message]:
    """Put notices into as few messages as needed; those that other targets already have stay apart.

    Every message ends with the ids of its notices: who gets one twice can tell by them.
    """
    ordered = sorted(notices, key=lambda notice: sorted(notice.delivered_to))
    groups = (tuple(group) for _, group in groupby(ordered, key=lambda notice: notice.delivered_to))
    return [message for group in groups for message in _messages(group)]


def deliveries_of(message: Message, refused: dict[str, str], targets: Sequence[str]) -> list[Delivery]:
    """Say for each notice of a message which targets have it now, and why not the others.

    Parameters
    ----------
    refused : for each target that did not take the message, why
    """
    has_it = message.delivered_to | {target for target in targets if target not in refused}
    error = "; ".join(f"{target}: {why}" for target, why in sorted(refused.items())) or None
    return [Delivery(notice, has_it, error) for notice in message.notices]


def _messages(notices: tuple[Notice, ...]) -> list[Message]:
    if len(notices) < TOGETHER_FROM:
        return [_message((notice,), notice.title, notice.body) for notice in notices]
    return [message for some in _within_bounds(notices) for message in _one_of(some)]


def _within_bounds(notices: tuple[Notice, ...]) -> Iterator[tuple[Notice, ...]]:
    """Divide notices so that no target finds what they say too long; a longer one goes alone."""
    some: list[Notice] = []
    chars = 0
    for notice in notices:
        more = len(notice.title) + len(notice.body) + len(notice.id) + len("\n\n\n, ")
        if some and chars + more > BODY_CHARS_MAX:
            yield tuple(some)
            some, chars = [], 0
        some.append(notice)
        chars += more
    yield tuple(some)


def _one_of(notices: tuple[Notice, ...]) -> list[Message]:
    if len(notices) == 1:
        return [_message(notices, notices[0].title, notices[0].body)]
    critical = sum(notice.severity == "critical" and notice.event == "opened" for notice in notices)
    title = f"{len(notices)} alerts" + (f", {critical} critical" if critical else "")
    body = "\n\n".join(f"{notice.title}\n{notice.body}" for notice in notices)
    return [_message(notices, title, body)]


def _message(notices: tuple[Notice, ...], title: str, body: str) -> Message:
    ids = ", ".join(notice.id for notice in notices)
    return Message(notices=notices, title=f"Interlock: {title}", body=f"{body}\n\nNotice {ids}")
