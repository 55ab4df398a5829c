"""The account: cash and positions, changed by fills and splits and by nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal

from local.exchange.trading.numbers import CENT, SHARE, ZERO, plain, truncated
from local.exchange.trading.order import Side, Status

OPENING_CASH = Decimal(100_000)
Lot = tuple[Decimal, Decimal]  # a quantity, and what it cost
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
    """Shares held of one symbol; `qty` is negative for a short position.

    Within a day `avg_price` is the weighted average, and what closes leaves it as it is. Before the
    next one opens Alpaca counts again, first in first out, each day's purchases taken together
    ("compressed FIFO"): `lots` are those of the days before as JSON, `[quantity, cost]` each, and
    `opened_qty`, `opened_cost` and `closed_qty` what the present day did.
    """

    symbol: str
    qty: Decimal
    avg_price: Decimal
    lots: str = "[]"
    opened_qty: Decimal = ZERO
    opened_cost: Decimal = ZERO
    closed_qty: Decimal = ZERO

    @property
    def cost_basis(self) -> Decimal:
        return self.qty * self.avg_price

    @property
    def has_traded_today(self) -> bool:
        return bool(self.opened_qty or self.closed_qty)

    def settle(self) -> None:
        """End the day: what it opened becomes a lot, and what it closed is taken from the oldest ones."""
        lots = _without([*self._known_lots(), (self.opened_qty, self.opened_cost)], self.closed_qty)
        self.lots = json.dumps([[plain(qty), plain(cost)] for qty, cost in lots])
        self.avg_price = (sum((cost for _, cost in lots), ZERO) / abs(self.qty)).quantize(SHARE)
        self.opened_qty = self.opened_cost = self.closed_qty = ZERO

    def split(self, ratio: int) -> None:
        """Give `ratio` shares for each; the day before is settled, and nothing has traded since."""
        lots = [(qty * ratio, cost) for qty, cost in self._known_lots()]
        self.lots = json.dumps([[plain(qty), plain(cost)] for qty, cost in lots])
        self.qty *= ratio
        self.avg_price /= ratio

    def _known_lots(self) -> list[Lot]:
        """Return the lots of the days before; where a ledger has not kept them, one at the average price."""
        lots = [(Decimal(qty), Decimal(cost)) for qty, cost in json.loads(self.lots)]
        kept = sum((qty for qty, _ in lots), self.opened_qty - self.closed_qty)
        unknown = abs(self.qty) - kept
        return [(unknown, unknown * self.avg_price), *lots] if unknown > 0 else lots


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
            held.opened_qty += abs(fill.signed_qty)
            held.opened_cost += fill.qty * fill.price
        elif held.qty * after < 0:  # turned around: what is left was opened by this fill
            opened = abs(after)
            held = Position(fill.symbol, after, fill.price, opened_qty=opened, opened_cost=opened * fill.price)
        else:
            held.closed_qty += abs(fill.signed_qty)
        held.qty = after
        self.positions[fill.symbol] = held

    def apply_split(self, split: Split) -> None:
        position = self.positions.get(split.symbol)
        if position:
            position.split(split.ratio)


def _without(lots: list[Lot], closed: Decimal) -> list[Lot]:
    """Return what is left of lots, oldest first, when some of them are closed."""
    left: list[Lot] = []
    for qty, cost in lots:
        taken = min(qty, closed)
        closed -= taken
        if qty > taken:
            left.append((qty - taken, cost * (qty - taken) / qty))
    return left


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
