"""Our books against the broker's: pure, so that doing it twice is doing it once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from engine.domain.book import Snapshot
from engine.domain.broker_types import BrokerOrder, BrokerPosition
from engine.domain.exits import protected_qty


class FindingKind(StrEnum):
    POSITION_MISMATCH = "POSITION_MISMATCH"
    ORDER_MISSING_AT_BROKER = "ORDER_MISSING_AT_BROKER"
    ORDER_NOT_OURS = "ORDER_NOT_OURS"
    ENTRY_AFTER_PAUSE = "ENTRY_AFTER_PAUSE"
    POSITION_UNPROTECTED = "POSITION_UNPROTECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference; the same difference found again has the same key."""

    kind: FindingKind
    subject: str
    symbol: str | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    repaired: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}"


def compare_positions(snapshot: Snapshot, theirs: Iterable[BrokerPosition]) -> list[Finding]:
    """Compare the sum of our trades per symbol with what the account holds."""
    ours: dict[str, Decimal] = defaultdict(Decimal)
    for trade in snapshot.trades:
        ours[trade.symbol] += trade.qty if trade.is_long else -trade.qty
    held = {position.symbol: position.qty for position in theirs}
    return [
        Finding(
            kind=FindingKind.POSITION_MISMATCH,
            subject=symbol,
            symbol=symbol,
            detail={"ours": str(ours[symbol]), "broker": str(held.get(symbol, Decimal(0)))},
        )
        for symbol in sorted(ours.keys() | held.keys())
        if ours[symbol] != held.get(symbol, Decimal(0))
    ]


def find_missing(snapshot: Snapshot, missing_broker_ids: Iterable[str]) -> list[Finding]:
    """Report orders that we take for working and that the broker does not know."""
    missing = set(missing_broker_ids)
    return [
        Finding(
            kind=FindingKind.ORDER_MISSING_AT_BROKER,
            subject=order.id,
            symbol=order.symbol,
            detail={"state": order.state, "broker_order_id": order.broker_order_id},
        )
        for order in snapshot.orders
        if order.state.is_at_broker and order.broker_order_id in missing
    ]


def find_foreign(orders: Sequence[BrokerOrder]) -> list[Finding]:
    """Report open orders of the account that we never made: somebody trades by hand."""
    return [
        Finding(
            kind=FindingKind.ORDER_NOT_OURS,
            subject=order.broker_order_id,
            symbol=order.symbol,
            detail={"side": order.side, "qty": str(order.qty), "status": order.status},
        )
        for order in orders
    ]


def find_late(orders: Sequence[BrokerOrder]) -> list[Finding]:
    """Report orders that live at the broker although they are over on our side; they get cancelled."""
    return [
        Finding(
            kind=FindingKind.ENTRY_AFTER_PAUSE,
            subject=order.client_order_id,
            symbol=order.symbol,
            detail={"broker_order_id": order.broker_order_id, "status": order.status},
        )
        for order in orders
    ]


def find_unprotected(snapshot: Snapshot) -> list[Finding]:
    """Report positions whose entry is over and which no stop at the broker covers in full."""
    return [
        Finding(
            kind=FindingKind.POSITION_UNPROTECTED,
            subject=trade.trade_id,
            symbol=trade.symbol,
            detail={"qty": str(trade.qty), "protected_qty": str(protected_qty(trade))},
        )
        for trade in snapshot.trades
        if trade.trade_id not in snapshot.open_entry_trades
        and not trade.exit_working
        and protected_qty(trade) < trade.qty
    ]
