"""The gate's rules as a pure function: the twin of `private.gate_checks` in db/schema/11_gate.sql.

The database decides; this copy explains and replays. Property tests hold the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """Everything the gate knows about one entry when it judges it. A limit of None is not set."""

    mode: str
    trading_mode: str
    profile_active: bool
    qty: Decimal
    limit_price: Decimal
    reference_price: Decimal
    notional_usd: Decimal
    unknown_orders: int
    open_entries: int
    open_orders: int
    positions: int
    position_notional_usd: Decimal
    capital_usd: Decimal
    reserved_usd: Decimal
    used_usd: Decimal
    order_qty_max: Decimal | None
    order_notional_max_usd: Decimal | None
    price_collar_pct: Decimal | None
    open_orders_max: int | None
    positions_max: int | None
    position_notional_max_usd: Decimal | None

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any]) -> Self:
        """Read a snapshot back from `decision_log.inputs`."""
        amounts = cls.amounts()
        read: dict[str, Any] = {}
        for name in cls.__slots__:
            value = inputs[name]
            read[name] = Decimal(str(value)) if name in amounts and value is not None else value
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
    position_usd = s.position_notional_usd + s.notional_usd
    committed_usd = s.reserved_usd + s.used_usd + s.notional_usd
    distance_usd = abs(s.limit_price - s.reference_price)
    return [
        Check("TRADING_HALTED", "RUNNING", s.mode, s.mode != "HALTED"),
        Check("TRADING_PAUSED", "RUNNING", s.mode, s.mode != "PAUSED"),
        Check("MODE_DISABLED", "paper or live", s.trading_mode, s.trading_mode != "disabled"),
        Check("PROFILE_INACTIVE", True, s.profile_active, s.profile_active),
        Check("ORDER_UNKNOWN", 0, s.unknown_orders, s.unknown_orders == 0),
        Check("DUPLICATE_ORDER", 0, s.open_entries, s.open_entries == 0),
        _at_most("ORDER_QTY_MAX", s.qty, s.order_qty_max),
        _at_most("ORDER_NOTIONAL_MAX", s.notional_usd, s.order_notional_max_usd),
        Check(
            "PRICE_COLLAR",
            s.price_collar_pct,
            distance_usd / s.reference_price,
            s.price_collar_pct is not None and distance_usd <= s.price_collar_pct * s.reference_price,
        ),
        _at_most("OPEN_ORDERS_MAX", s.open_orders + 1, s.open_orders_max),
        _at_most("POSITIONS_MAX", s.positions + 1, s.positions_max),
        _at_most("POSITION_LIMIT", position_usd, s.position_notional_max_usd),
        _at_most("CAPITAL_INSUFFICIENT", committed_usd, s.capital_usd),
    ]


def gate_code(checks: list[Check]) -> str | None:
    """Return the code of the first rule that failed, or None when the entry may pass."""
    for check in checks:
        if not check.passed:
            return "LIMIT_NOT_SET" if check.limit is None else check.name
    return None


def _at_most(name: str, observed: Decimal | int, limit: Decimal | int | None) -> Check:
    return Check(name, limit, observed, limit is not None and observed <= limit)
