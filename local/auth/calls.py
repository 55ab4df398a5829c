"""A plain call on its way, and who waits for its answer."""

from dataclasses import dataclass
from typing import Protocol

SAFE = {b"GET", b"HEAD", b"OPTIONS"}


class Recipient(Protocol):
    """Who waits for an answer."""

    @property
    def is_gone(self) -> bool:
        """Whether the answer is of no more use."""

    def pass_back(self, data: bytes) -> None:
        """Take the next piece of the answer."""

    def finish(self) -> None:
        """The answer is complete."""

    def fail(self) -> None:
        """There is no answer, and nothing is known about the outcome."""

    def break_off(self) -> None:
        """The answer ended too early."""


class Way(Protocol):
    """What a call goes over."""

    def pause(self) -> None:
        """Stop reading: the recipient does not keep up."""

    def resume(self) -> None:
        """Go on reading."""


@dataclass(slots=True)
class Call:
    """One request on its way."""

    method: bytes
    request: bytes
    recipient: Recipient
    line: Way | None = None
    may_repeat: bool = True  # if it is a safe one
