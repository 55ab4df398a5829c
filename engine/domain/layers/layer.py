"""What a layer is: a filter between a strategy's wish to enter and the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a layer says of one entry, in words and in figures."""

    layer: str
    passed: bool
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as the signal keeps it."""
        return {"layer": self.layer, "passed": self.passed, "reason": self.reason, "facts": dict(self.facts)}


class Layer(Protocol):
    """Asked about entries alone: nothing that closes or protects a position passes through a layer."""

    def rule(self, symbol: str, side: str) -> Ruling:
        """Judge an entry; `side` is the position's, "long" or "short"."""
        ...


def wants(value: float, side: str) -> bool:
    """Tell whether a value speaks for a side: not below 0 for a long position, not above 0 for a short one."""
    return value >= 0 if side == "long" else value <= 0
