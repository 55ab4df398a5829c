"""The gate's rules as a pure function: the twin of `private.gate_checks` in db/schema/19_gate.sql.

The database decides; this copy explains and replays. Property tests hold the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Self

from engine.domain.risk_config import PortfolioRiskConfig, TradingMode, requires_approval


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSnapshot:
    """Everything the gate knows about one entry when it judges it. A limit of None is not set.

    Amounts in US dollars, ages in seconds or bars, every `_pct` a fraction; `locked_until` is the
    database's time as text.
    """

    mode: str
    trading_mode: str
    profile_active: bool
    locked_until: str | None = None
    lock_reason: str | None = None
    signal_age_bars: Decimal | None = None
    quote_age_s: Decimal | None
    unknown_orders: int
    breaks: int
    open_entries: int
    stage_fraction: Decimal | None = None
    qty: Decimal
    limit_price: Decimal
    reference_price: Decimal
    notional_usd: Decimal
    open_orders: int
    positions: int
    position_notional_usd: Decimal
    sector: str
    sector_exposure_usd: Decimal
    gross_exposure_usd: Decimal
    owner_capital_usd: Decimal
    capital_usd: Decimal
    reserved_usd: Decimal
    used_usd: Decimal
    orders_last_minute: int
    orders_last_day: int
    repeats: int
    daily_loss_usd: Decimal
    drawdown_pct: Decimal | None
    loss_streak: int
    crosses_own_order: bool
    market_open: bool | None
    first_trade: bool | None = None
    staged: bool = False
    overrides: tuple[str, ...] | None = None
    order_qty_max: Decimal | None
    order_notional_max_usd: Decimal | None
    price_collar_pct: Decimal | None
    signal_bars_max: Decimal | None
    quote_age_max_s: Decimal | None
    open_orders_max: int | None
    positions_max: int | None
    position_notional_max_usd: Decimal | None
    sector_max_pct: Decimal | None
    gross_max_pct: Decimal | None
    orders_per_minute_max: int | None
    orders_per_day_max: int | None
    repeats_max: int | None
    daily_loss_max_pct: Decimal | None
    drawdown_max_pct: Decimal | None
    loss_streak_max: int | None
    entries_when_closed: bool | None

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any]) -> Self:
        """Read a snapshot back from `decision_log.inputs`."""
        amounts = cls.amounts()
        read: dict[str, Any] = {}
        for name in cls.__slots__:
            value = inputs[name]
            if name in amounts and value is not None:
                value = Decimal(str(value))
            read[name] = tuple(value) if isinstance(value, list) else value
        return cls(**read)

    @classmethod
    def amounts(cls) -> list[str]:
        """Return the names of the fields that hold money, prices or quantities."""
        return [f.name for f in fields(cls) if "Decimal" in str(f.type)]


@dataclass(frozen=True, slots=True)
class Check:
    """One judged rule. `limit` is None when the limit is not set, and then it has not passed."""

    name: str
    limit: Any
    observed: Any
    passed: bool


def gate_checks(s: GateSnapshot) -> list[Check]:
    """Judge every rule, in the order in which the first failure counts."""
    overridden = s.overrides or ()
    return [
        Check(c.name, c.limit, c.observed, c.passed or (c.name in overridden and c.limit is not None))
        for c in [*_state(s), *_freshness(s), *_order(s), *_exposure(s), *_conduct(s)]
    ]


def gate_code(checks: list[Check]) -> str | None:
    """Return the code of the first rule that failed, or None when the entry may pass."""
    for check in checks:
        if not check.passed:
            return "LIMIT_NOT_SET" if check.limit is None else check.name
    return None


def approval_reasons(config: PortfolioRiskConfig, s: GateSnapshot) -> list[str]:
    """Return why a person has to approve an entry that passed every check; empty when nobody has to."""
    rules = config.operator_approval
    above_usd, streak = rules.notional_above_usd, rules.after_loss_streak
    asked = {
        "mode": requires_approval(config, TradingMode(s.trading_mode)),
        "notional": above_usd is not None and s.notional_usd >= above_usd,
        "first_trade": rules.first_trade_in_symbol and bool(s.first_trade),
        "off_hours": rules.off_hours and not s.market_open,
        "loss_streak": streak is not None and s.loss_streak >= streak,
        "staged_resume": s.staged,
    }
    return [reason for reason, asks in asked.items() if asks]


def _state(s: GateSnapshot) -> list[Check]:
    return [
        Check("TRADING_HALTED", "RUNNING", s.mode, s.mode != "HALTED"),
        Check("TRADING_PAUSED", "RUNNING", s.mode, s.mode != "PAUSED"),
        Check("MODE_DISABLED", "paper or live", s.trading_mode, s.trading_mode != "disabled"),
        Check("PROFILE_INACTIVE", True, s.profile_active, s.profile_active),
        Check("SYMBOL_LOCKED", "not locked out", s.locked_until, s.locked_until is None),
    ]


def _freshness(s: GateSnapshot) -> list[Check]:
    return [
        # An entry without a signal has no age that could be too old.
        _at_most("SIGNAL_STALE", s.signal_age_bars or Decimal(0), s.signal_bars_max),
        _at_most("QUOTE_STALE", s.quote_age_s, s.quote_age_max_s),
        Check("ORDER_UNKNOWN", 0, s.unknown_orders, s.unknown_orders == 0),
        Check("RECONCILIATION_BREAK", 0, s.breaks, s.breaks == 0),
        Check("DUPLICATE_ORDER", 0, s.open_entries, s.open_entries == 0),
    ]


def _order(s: GateSnapshot) -> list[Check]:
    distance_usd = abs(s.limit_price - s.reference_price)
    return [
        Check("STAGED_SIZE", s.stage_fraction or 1, s.qty, s.qty > 0),
        _at_most("ORDER_QTY_MAX", s.qty, s.order_qty_max),
        _at_most("ORDER_NOTIONAL_MAX", s.notional_usd, s.order_notional_max_usd),
        Check(
            "PRICE_COLLAR",
            s.price_collar_pct,
            distance_usd / s.reference_price,
            s.price_collar_pct is not None and distance_usd <= s.price_collar_pct * s.reference_price,
        ),
    ]


def _exposure(s: GateSnapshot) -> list[Check]:
    added_usd = s.notional_usd
    return [
        _at_most("OPEN_ORDERS_MAX", s.open_orders + 1, s.open_orders_max),
        _at_most("POSITIONS_MAX", s.positions + 1, s.positions_max),
        _at_most("POSITION_LIMIT", s.position_notional_usd + added_usd, s.position_notional_max_usd),
        _at_most("SECTOR_EXPOSURE", s.sector_exposure_usd + added_usd, _share(s.sector_max_pct, s.owner_capital_usd)),
        _at_most("GROSS_EXPOSURE", s.gross_exposure_usd + added_usd, _share(s.gross_max_pct, s.owner_capital_usd)),
        _at_most("CAPITAL_INSUFFICIENT", s.reserved_usd + s.used_usd + added_usd, s.capital_usd),
    ]


def _conduct(s: GateSnapshot) -> list[Check]:
    return [
        _at_most("ORDER_RATE", s.orders_last_minute + 1, s.orders_per_minute_max),
        _at_most("ORDER_RATE", s.orders_last_day + 1, s.orders_per_day_max),
        _at_most("REPEATED_EXECUTION", s.repeats + 1, s.repeats_max),
        _below("DAILY_LOSS", s.daily_loss_usd, _share(s.daily_loss_max_pct, s.capital_usd)),
        _below("DRAWDOWN", s.drawdown_pct, s.drawdown_max_pct),
        _below("LOSS_STREAK", s.loss_streak, s.loss_streak_max),
        Check("WASH_TRADE", False, s.crosses_own_order, not s.crosses_own_order),
        Check(
            "MARKET_CLOSED",
            s.entries_when_closed,
            s.market_open,
            s.entries_when_closed is not None and (s.entries_when_closed or bool(s.market_open)),
        ),
    ]


def _share(part: Decimal | None, whole: Decimal) -> Decimal | None:
    return None if part is None else part * whole


def _at_most(name: str, observed: Decimal | int | None, limit: Decimal | int | None) -> Check:
    return Check(name, limit, observed, limit is not None and observed is not None and observed <= limit)


def _below(name: str, observed: Decimal | int | None, limit: Decimal | int | None) -> Check:
    return Check(name, limit, observed, limit is not None and observed is not None and observed < limit)
