"""The database that decides, as the services need it.

Every method raises AuthorityUnavailable when it cannot be reached, LeaseLost when the fencing
token is stale, and Refused for any other coded no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from engine.domain.book import Order, OrderState, Snapshot
from engine.domain.broker_types import Bar, BrokerOrder
from engine.domain.control import TradingControl
from engine.domain.journal import OfflineExit
from engine.domain.requests import Answer, EntryRequest, ExitRequest
from engine.domain.submission import Submission


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """What a reported order is to us: `id` None when it is none of ours.

    `late`: it lives, or has filled, at the broker although it was over on our side; `after_pause`:
    and it is an entry, and trading was not running meanwhile. `deferred`: it took the place of an
    order of ours that is not known to be over.
    """

    id: str | None
    state: OrderState | None
    changed: bool
    late: bool
    after_pause: bool = False
    deferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A position's price and protection at a market time."""

    trade_id: str
    mark_price: Decimal
    protected_qty: Decimal
    market_at: datetime
    stop_price: Decimal | None = None  # where its stop is from now on; None: as it was


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """An order of ours that must not work any longer, and why."""

    id: str
    reason: str


class Leases(Protocol):
    """The right to write for a shard."""

    def acquire(self, holder: str, ttl_s: int) -> bool:
        """Take the lease when it is free; False while another holder has it."""
        ...

    def heartbeat(
        self,
        *,
        version: str,
        market_at: datetime | None,
        jobs: Mapping[str, Any],
        detail: Mapping[str, Any],
        ttl_s: int,
    ) -> TradingControl:
        """Renew the lease and note the sign of life; answers what the controls say now."""
        ...

    def release(self) -> None: ...


class OrderDesk(Protocol):
    """The gate and the life of orders."""

    def request_entries(self, requests: Sequence[EntryRequest], *, permits: int = 0) -> list[Answer]:
        """Put entries to the gate; answers in the same order, the same id twice acts once.

        Up to `permits` of those that pass may be sent at once, as claimed ones are: their answers carry the order.
        """
        ...

    def request_exits(self, requests: Sequence[ExitRequest]) -> list[Answer]: ...

    def request_cancels(self, requests: Sequence[CancelRequest]) -> int:
        """Have orders cancelled at the broker by id; what was not sent ends at once; answers how many."""
        ...

    def claim(self, *, limit: int = 50, exits_only: bool = False) -> list[Order]:
        """Take permits for orders that are ready, exits first."""
        ...

    def record_submissions(self, submissions: Sequence[Submission]) -> None: ...

    def record_updates(self, orders: Sequence[BrokerOrder]) -> list[UpdateAnswer]:
        """Take over what the broker says; monotone and idempotent; answers in the same order."""
        ...


class StateStore(Protocol):
    """What the engine reads to act, and what it leaves for others to see."""

    def snapshot(self) -> Snapshot: ...

    def record_marks(self, marks: Sequence[Mark]) -> None: ...

    def record_equity(self, market_at: datetime, session_date: date) -> None: ...

    def record_bars(self, bars: Iterable[Bar]) -> None: ...

    def save_state(self, state: Mapping[str, Any]) -> None: ...

    def load_state(self) -> Mapping[str, Any] | None: ...


class OfflineLedger(Protocol):
    """Where exits that were sent without the authority are told afterwards."""

    def record_offline_exits(self, exits: Sequence[tuple[OfflineExit, Submission]]) -> None:
        """Record exits with what the broker answered; told again, in any order, nothing changes."""
        ...
