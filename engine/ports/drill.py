"""What a fire drill asks of the authority and of the broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from engine.domain.broker_types import BrokerOrder


@dataclass(frozen=True, slots=True)
class Control:
    """The mode of all trading. Times are the database's."""

    mode: str
    version: int
    changed_at: datetime
    changed_by: str
    reason: str
    quiesced_at: datetime | None
    stage_entries: int | None = None
    stage_fraction: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An open position and the broker's ids of the stops that rest for it. Worth in US dollars."""

    trade_id: str
    symbol: str
    qty: Decimal
    worth_usd: Decimal
    stops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExitOrder:
    """How far an exit is. Times are the database's."""

    state: str
    asked_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None


class DrillDesk(Protocol):
    """What a drill asks of the authority, as the person who runs it."""

    def control(self) -> Control: ...

    def obstacles(self) -> Sequence[str]:
        """Return why no drill may start now; empty when one may."""
        ...

    def change(self, mode: str, reason: str, *, expected_version: int, before: Control | None = None) -> Control:
        """Set the mode, unless somebody was faster; a resume brings the stage of `before` back.

        Raises
        ------
        Refused when the authority says no
        """
        ...

    def entries_among(self, order_ids: Sequence[str]) -> set[str]:
        """Return which of these are entries of ours."""
        ...

    def entries_sent_after(self, at: datetime) -> int: ...

    def held(self) -> Sequence[Held]: ...

    def close(self, trade_id: str, reason: str) -> str:
        """Ask for an exit; return its order's id. Raises Refused."""
        ...

    def exit_order(self, order_id: str) -> ExitOrder: ...


class OpenOrders(Protocol):
    """What a drill asks of the broker: it reads, and sends nothing itself."""

    def open_orders(self) -> Sequence[BrokerOrder]: ...

    def order(self, broker_order_id: str) -> BrokerOrder | None: ...
