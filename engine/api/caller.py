"""Who is calling: known by the token alone, and what it may do is the database's to say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Caller:
    """A signed-in user's client."""

    client: Any


GetCaller = Callable[..., Caller]
