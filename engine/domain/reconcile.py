"""Our books against the broker's: pure, so that doing it twice is doing it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from engine.domain.book import Order, Snapshot
from engine.domain.broker_types import AccountState, BrokerOrder, BrokerPosition, Split
from engine.domain.exits import protected_qty


class FindingKind(StrEnum):
    POSITION_MISMATCH = "POSITION_MISMATCH"
    SHARES_SPLIT = "SHARES_SPLIT"
    ORDER_MISSING_AT_BROKER = "ORDER_MISSING_AT_BROKER"
    ORDER_NOT_OURS = "ORDER_NOT_OURS"
    ORDER_ADOPTED = "ORDER_ADOPTED"
    ENTRY_AFTER_PAUSE = "ENTRY_AFTER_PAUSE"
    LATE_ORDER = "LATE_ORDER"
    POSITION_UNPROTECTED = "POSITION_UNPROTECTED"
    ACCOUNT_BLOCKED = "ACCOUNT_BLOCKED"
    TRADING_SUSPENDED = "TRADING_SUSPENDED"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """How bad a kind of finding is, and what a person should do about it."""

    severity: Severity
    advice: str


_K: Final = FindingKind
_MEANINGS: Final = {
    _K.POSITION_MISMATCH: _Meaning(
        Severity.CRITICAL,
        "Find out who traded: undo it at the broker, or have an admin set the account's policy for external orders.",
    ),
    _K.SHARES_SPLIT: _Meaning(Severity.INFO, "Look at the stops of the position: their prices were divided."),
    _K.ORDER_MISSING_AT_BROKER: _Meaning(
        Severity.CRITICAL, "Look at the account: was it reset? The order is given up when it stays missing."
    ),
    _K.ORDER_NOT_OURS: _Meaning(
        Severity.WARNING, "Cancel it at the broker, or have an admin set the account's policy for external orders."
    ),
    _K.ORDER_ADOPTED: _Meaning(Severity.INFO, "Give the trade a stop if it has none: nobody asked for one."),
    _K.ENTRY_AFTER_PAUSE: _Meaning(
        Severity.CRITICAL, "Find the engine that was frozen while it sent; halt with the broker's fence to be certain."
    ),
    _K.LATE_ORDER: _Meaning(Severity.CRITICAL, "Nothing if it was cancelled; if it filled, decide whether to keep it."),
    _K.POSITION_UNPROTECTED: _Meaning(
        Severity.CRITICAL, "Close the position or place a stop by hand if the engine cannot within seconds."
    ),
    _K.ACCOUNT_BLOCKED: _Meaning(Severity.CRITICAL, "Ask the broker why: exits are refused as well."),
    _K.TRADING_SUSPENDED: _Meaning(
        Severity.CRITICAL, "Lift suspend_trade in the broker's account settings if it is not meant: exits are refused."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference; the same difference found again has the same key."""

    kind: FindingKind
    subject: str
    symbol: str | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    repaired: bool = False
    action: str = ""  # what was done about it

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}"

    @property
    def severity(self) -> Severity:
        return _MEANINGS[self.kind].severity

    @property
    def advice(self) -> str:
        """What a person should do."""
        return _MEANINGS[self.kind].advice


@dataclass(frozen=True, slots=True)
class LateOrder:
    """An order that was over on our side when it lived, or filled, at the broker."""

    order: BrokerOrder
    after_pause: bool


@dataclass(frozen=True, slots=True)
class Adoption:
    """What became of an order that is not ours, by the account's policy."""

    order: BrokerOrder
    adopted: bool
    policy: str
    reason: str


def held_by(snapshot: Snapshot) -> dict[str, Decimal]:
    """Return what a shard's open trades add up to, by symbol; shorts are negative."""
    held: dict[str, Decimal] = {}
    for trade in snapshot.trades:
        held[trade.symbol] = held.get(trade.symbol, Decimal(0)) + (trade.qty if trade.is_long else -trade.qty)
    return held


def compare_positions(ours: Mapping[str, Decimal], theirs: Iterable[BrokerPosition]) -> list[Finding]:
    """Compare what our books say the account holds with what it holds."""
    held = {position.symbol: position.qty for position in theirs}
    return [
        Finding(
            kind=FindingKind.POSITION_MISMATCH,
            subject=symbol,
            symbol=symbol,
            detail={"ours": plain(ours.get(symbol, Decimal(0))), "broker": plain(held.get(symbol, Decimal(0)))},
        )
        for symbol in sorted(ours.keys() | held.keys())
        if ours.get(symbol, Decimal(0)) != held.get(symbol, Decimal(0))
    ]


def gap_of(finding: Finding) -> Decimal:
    """Return how much more the broker holds than our books say."""
    return Decimal(finding.detail["broker"]) - Decimal(finding.detail["ours"])


def lasting(first: Sequence[Finding], second: Sequence[Finding]) -> list[Finding]:
    """Return what two looks agree on: a fill between two reads looks like a difference once.

    Of a position, the two looks must see the same gap.
    """
    before = {finding.key: finding for finding in first}
    return [
        finding
        for finding in second
        if (old := before.get(finding.key)) is not None
        and (finding.kind is not FindingKind.POSITION_MISMATCH or gap_of(finding) == gap_of(old))
    ]


def explaining_split(finding: Finding, splits: Iterable[Split]) -> Split | None:
    """Return the split that could explain a position's gap; the books decide whether it does."""
    if Decimal(finding.detail["broker"]) == 0 or Decimal(finding.detail["ours"]) == 0:
        return None
    return next((split for split in splits if split.symbol == finding.symbol), None)


def find_split(split: Split, qty: Decimal) -> Finding:
    """Report a split that was applied to our books."""
    return Finding(
        kind=FindingKind.SHARES_SPLIT,
        subject=f"{split.symbol}:{split.effective_at:%Y-%m-%d}",
        symbol=split.symbol,
        detail={"ratio": plain(split.ratio), "qty": plain(qty), "effective_at": split.effective_at.isoformat()},
        repaired=True,
        action="Our quantities were restated; stops and targets were divided.",
    )


def find_missing(orders: Iterable[Order], missing_broker_ids: Iterable[str]) -> list[Finding]:
    """Report orders that we take for working and that the broker does not know."""
    missing = set(missing_broker_ids)
    return [
        Finding(
            kind=FindingKind.ORDER_MISSING_AT_BROKER,
            subject=order.id,
            symbol=order.symbol,
            detail={"state": order.state, "broker_order_id": order.broker_order_id},
            action="It is looked up again; entries in the symbol wait.",
        )
        for order in orders
        if order.state.is_at_broker and order.broker_order_id in missing
    ]


def find_foreign(orders: Sequence[BrokerOrder], answers: Mapping[str, Adoption] | None = None) -> list[Finding]:
    """Report open orders of the account that we never made: somebody trades by hand."""
    answers = answers or {}
    return [
        Finding(
            kind=FindingKind.ORDER_NOT_OURS,
            subject=order.broker_order_id,
            symbol=order.symbol,
            detail={"side": order.side, "qty": plain(order.qty), "status": order.status},
            action=_left_alone(answers.get(order.broker_order_id)),
        )
        for order in orders
    ]


def find_adopted(adoptions: Iterable[Adoption]) -> list[Finding]:
    """Report the orders that the account's policy has just brought into our books."""
    return [
        Finding(
            kind=FindingKind.ORDER_ADOPTED,
            subject=adoption.order.broker_order_id,
            symbol=adoption.order.symbol,
            detail={"side": adoption.order.side, "qty": plain(adoption.order.qty)},
            repaired=True,
            action="Adopted into the profile that the policy names.",
        )
        for adoption in adoptions
        if adoption.adopted
    ]


def may_adopt(order: BrokerOrder, gap: Decimal) -> bool:
    """Tell whether an external order belongs in our books: it works, or its fill is part of a gap."""
    if order.is_open:
        return True
    filled = order.filled_qty if order.side == "buy" else -order.filled_qty
    return filled != 0 and filled * gap > 0 and abs(filled) <= abs(gap)


def find_late(orders: Sequence[LateOrder]) -> list[Finding]:
    """Report orders that lived at the broker although they were over on our side."""
    return [
        Finding(
            kind=FindingKind.ENTRY_AFTER_PAUSE if late.after_pause else FindingKind.LATE_ORDER,
            subject=late.order.client_order_id,
            symbol=late.order.symbol,
            detail={
                "broker_order_id": late.order.broker_order_id,
                "status": late.order.status,
                "filled_qty": plain(late.order.filled_qty),
            },
            action="Cancelled at the broker."
            if late.order.is_open
            else "It had ended; what it filled was booked and is looked after.",
        )
        for late in orders
    ]


def find_unprotected(snapshot: Snapshot) -> list[Finding]:
    """Report positions whose entry is over and which no stop at the broker covers in full."""
    return [
        Finding(
            kind=FindingKind.POSITION_UNPROTECTED,
            subject=trade.trade_id,
            symbol=trade.symbol,
            detail={"qty": plain(trade.qty), "protected_qty": plain(protected_qty(trade))},
            action="The position monitor places what is missing.",
        )
        for trade in snapshot.trades
        if trade.trade_id not in snapshot.open_entry_trades
        and not trade.exit_working
        and protected_qty(trade) < trade.qty
    ]


def find_account(state: AccountState, *, fenced: bool) -> list[Finding]:
    """Report an account that may not trade; `fenced` when we have suspended it ourselves."""
    if state.blocked_by:
        kind, action = FindingKind.ACCOUNT_BLOCKED, "No entries are sent."
    elif state.suspended_by_user and not fenced:
        kind, action = FindingKind.TRADING_SUSPENDED, "No entries are sent."
    else:
        return []
    detail = {"blocked_by": list(state.blocked_by), "suspended_by_user": state.suspended_by_user}
    return [Finding(kind=kind, subject="account", symbol=None, detail=detail, action=action)]


def newest(orders: Iterable[BrokerOrder], before: datetime | None) -> datetime | None:
    """Return the latest submission time seen so far."""
    times = [order.submitted_at for order in orders]
    return max([*times, before] if before else times, default=None)


def plain(value: Decimal) -> str:
    """Write a quantity without exponent or trailing zeros, so that equal amounts read alike."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _left_alone(adoption: Adoption | None) -> str:
    if adoption is None or adoption.policy == "lock":
        return "Left alone; entries in the symbol wait."
    if adoption.policy == "ignore":
        return "Ignored, as the account's policy says."
    return f"Could not be adopted: {adoption.reason}. Entries in the symbol wait."
