"""Our books as reconciliation needs them: held against the broker's, page by page.

Errors as for the authority.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from engine.domain.broker_types import BrokerOrder, Split
from engine.domain.reconcile import Adoption, Finding

RunKind = Literal["full", "incremental"]


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """Which of the orders that were shown say something new, and which are not ours."""

    news: Sequence[BrokerOrder]
    unknown: Sequence[BrokerOrder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a reconciliation has looked at; orders submitted until `cursor` (market time) were compared."""

    kind: RunKind
    orders_checked: int
    orders_changed: int
    positions_checked: int
    cursor: datetime | None


class Ledger(Protocol):
    def held(self) -> Mapping[str, Decimal]:
        """Return what the books of all shards say the broker account holds, by symbol."""
        ...

    def compare(self, orders: Sequence[BrokerOrder]) -> PageAnswer:
        """Hold orders of the broker (legs as orders of their own) against ours; changes nothing."""
        ...

    def adopt(self, orders: Sequence[BrokerOrder]) -> list[Adoption]:
        """Bring orders that are not ours into our books where the account's policy says so."""
        ...

    def apply_split(self, split: Split, expected_qty: Decimal) -> bool:
        """Restate our books after a split; False when they would not say `expected_qty` then."""
        ...

    def note(self, run: Run, findings: Sequence[Finding]) -> None:
        """Put a run and what it found on record; what stays as it was is not written again."""
        ...
