"""The account: cash and positions, changed by fills and splits and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal

from local.exchange.trading.numbers import CENT, SHARE, ZERO, truncated
from local.exchange.trading.order import Side, Status

OPENING_CASH = Decimal(100_000)
CRYPTO_FEE_TAKER = Decimal("0.0025")
CRYPTO_FEE_MAKER = Decimal("0.0015")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. `amount` is the change of cash, in whole cents.

    `fee` is what crypto costs: of a purchase in the coins received, of a sale in US dollars
    (already taken from `amount`). Shares cost nothing.
    """

    seq: int
    id: str
    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    amount: Decimal
    at: datetime
    cum_qty: Decimal
    leaves_qty: Decimal
    order_status: Status
    fee: Decimal = ZERO

    @property
    def signed_qty(self) -> Decimal:
        """Return what the fill does to the position: a purchase of crypto arrives less its fee."""
        return self.qty - self.fee if self.side is Side.BUY else -self.qty


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Every share of `symbol` became `ratio` shares."""

    seq: int
    symbol: str
    ratio: int
    at: datetime


@dataclass(slots=True)
class Position:
    """Shares held of one symbol; `qty` is negative for a short position."""

    symbol: str
    qty: Decimal
    avg_price: Decimal

    @property
    def cost_basis(self) -> Decimal:
        return self.qty * self.avg_price


@dataclass(slots=True)
class Settings:
    """What the user can set on `/v2/account/configurations`."""

    suspend_trade: bool = False
    no_shorting: bool = False
    fractional_trading: bool = True
    max_margin_multiplier: str = "4"
    trade_confirm_email: str = "all"
    ptp_no_exception_entry: bool = False


@dataclass(slots=True)
class Account:
    """Cash in US dollars, positions by symbol, and the equity at the last close."""

    id: str
    created_at: datetime
    cash: Decimal = OPENING_CASH
    last_equity: Decimal = OPENING_CASH
    positions: dict[str, Position] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)

    def qty(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return position.qty if position else ZERO

    def apply(self, fill: Fill) -> None:
        """Book one execution: cash moves by its amount, the position by its quantity."""
        self.cash += fill.amount
        held = self.positions.get(fill.symbol) or Position(fill.symbol, ZERO, ZERO)
        after = held.qty + fill.signed_qty
        if after == 0:
            self.positions.pop(fill.symbol, None)
            return
        if held.qty * fill.signed_qty >= 0:  # opens or adds: the average moves
            cost = held.cost_basis + fill.side.sign * fill.qty * fill.price
            held.avg_price = (cost / after).quantize(SHARE)
        elif held.qty * after < 0:  # turned around: what is left was opened by this fill
            held.avg_price = fill.price
        held.qty = after
        self.positions[fill.symbol] = held

    def apply_split(self, split: Split) -> None:
        position = self.positions.get(split.symbol)
        if position:
            position.qty *= split.ratio
            position.avg_price /= split.ratio


def cash_change(side: Side, qty: Decimal, price: Decimal, fee: Decimal = ZERO) -> Decimal:
    """Return what a fill does to cash, in whole cents; only a sale's fee is in dollars."""
    paid = fee if side is Side.SELL else ZERO
    return -side.sign * (qty * price).quantize(CENT, ROUND_HALF_EVEN) - paid


def crypto_fee(side: Side, qty: Decimal, price: Decimal, *, maker: bool) -> Decimal:
    """Return Alpaca's fee, taken from what is received: coins of a purchase, dollars of a sale."""
    rate = CRYPTO_FEE_MAKER if maker else CRYPTO_FEE_TAKER
    if side is Side.SELL:
        return (qty * price * rate).quantize(CENT, ROUND_UP)
    return qty - truncated(qty * (1 - rate))
