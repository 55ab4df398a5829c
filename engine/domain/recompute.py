"""Trades, positions and profit from the facts alone: fills, and splits of shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from engine.domain.book import Purpose
from engine.domain.broker_types import Split

DOLLARS: Final = Decimal("0.000000001")  # the books keep nine decimals
_EXACT: Final = Context(prec=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What the broker executed. Price in US dollars, quantity in shares of its own time."""

    trade_id: str
    profile_id: str
    symbol: str
    side: str
    purpose: Purpose
    qty: Decimal
    price: Decimal
    executed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeSums:
    """One round trip as its fills tell it; quantities in shares of today."""

    trade_id: str
    profile_id: str
    symbol: str
    is_long: bool
    qty_entered: Decimal
    entry_notional_usd: Decimal
    qty_exited: Decimal
    exit_notional_usd: Decimal
    opened_at: datetime
    last_fill_at: datetime

    @property
    def qty_open(self) -> Decimal:
        return self.qty_entered - self.qty_exited

    @property
    def closed_at(self) -> datetime | None:
        return self.last_fill_at if self.qty_open <= 0 else None

    @property
    def realized_pnl_usd(self) -> Decimal:
        """Profit of what was exited, at the average price of what was entered."""
        cost = _share(self.entry_notional_usd, self.qty_exited, self.qty_entered)
        gain = _EXACT.subtract(self.exit_notional_usd, cost)
        return _dollars(gain if self.is_long else -gain)

    @property
    def cost_usd(self) -> Decimal:
        """What the open quantity was entered at; 0 when nothing is open."""
        return _dollars(_share(self.entry_notional_usd, max(self.qty_open, Decimal(0)), self.qty_entered))


def recompute(fills: Iterable[Fill], splits: Sequence[Split] = ()) -> dict[str, TradeSums]:
    """Return every trade that the fills make up, by its id.

    Raises
    ------
    ValueError if a trade has exits and no entry
    """
    by_trade: dict[str, list[Fill]] = {}
    for fill in fills:
        by_trade.setdefault(fill.trade_id, []).append(fill)
    return {trade_id: _sums(trade_id, own, splits) for trade_id, own in by_trade.items()}


def _sums(trade_id: str, fills: Sequence[Fill], splits: Sequence[Split]) -> TradeSums:
    entries = [fill for fill in fills if fill.purpose is Purpose.ENTRY]
    exits = [fill for fill in fills if fill.purpose is not Purpose.ENTRY]
    if not entries:
        raise ValueError(f"trade {trade_id} has exits and no entry")
    first = entries[0]
    return TradeSums(
        trade_id=trade_id,
        profile_id=first.profile_id,
        symbol=first.symbol,
        is_long=first.side == "buy",
        qty_entered=_shares(entries, splits),
        entry_notional_usd=_notional(entries),
        qty_exited=_shares(exits, splits),
        exit_notional_usd=_notional(exits),
        opened_at=min(fill.executed_at for fill in entries),
        last_fill_at=max(fill.executed_at for fill in fills),
    )


def _shares(fills: Iterable[Fill], splits: Sequence[Split]) -> Decimal:
    return sum((fill.qty * _factor(fill, splits) for fill in fills), Decimal(0))


def _factor(fill: Fill, splits: Sequence[Split]) -> Decimal:
    """Return how many shares of today one share of the fill's time is."""
    factor = Decimal(1)
    for split in splits:
        if split.symbol == fill.symbol and fill.executed_at < split.effective_at:
            factor *= split.ratio
    return factor


def _notional(fills: Iterable[Fill]) -> Decimal:
    return sum((_dollars(_EXACT.multiply(fill.qty, fill.price)) for fill in fills), Decimal(0))


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return _EXACT.divide(_EXACT.multiply(amount, part), whole)


def _dollars(amount: Decimal) -> Decimal:
    return amount.quantize(DOLLARS, ROUND_HALF_UP, _EXACT)
