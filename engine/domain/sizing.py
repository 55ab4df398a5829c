"""How many shares, at which prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any, Final

from engine.domain.broker_types import Side
from engine.domain.errors import ConfigError

CENT: Final = Decimal("0.01")
DEFAULT_COLLAR_PCT: Final = Decimal("0.005")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingRules:
    """A profile's rules; every `_pct` is a fraction (0.05 is 5 %)."""

    position_pct: Decimal
    stop_loss_pct: Decimal
    take_profit_pct: Decimal
    collar_pct: Decimal = DEFAULT_COLLAR_PCT

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> SizingRules:
        """Read the rules from a profile's parameters; raise ConfigError when they do not fit."""
        try:
            rules = cls(
                position_pct=Decimal(str(params["position_pct"])),
                stop_loss_pct=Decimal(str(params["stop_loss_pct"])),
                take_profit_pct=Decimal(str(params["take_profit_pct"])),
                collar_pct=Decimal(str(params.get("collar_pct", DEFAULT_COLLAR_PCT))),
            )
        except (KeyError, ArithmeticError) as error:
            raise ConfigError(f"sizing parameters do not fit: {error!r}") from error
        if not (0 < rules.position_pct <= 1 and 0 < rules.stop_loss_pct < 1):
            raise ConfigError("position_pct and stop_loss_pct must lie between 0 and 1")
        if not (rules.take_profit_pct > 0 and 0 <= rules.collar_pct < 1):
            raise ConfigError("take_profit_pct must be above 0, collar_pct between 0 and 1")
        return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlan:
    """A bracketed entry: whole shares, prices in US dollars rounded to cents."""

    qty: Decimal
    limit_price: Decimal
    take_profit_price: Decimal
    stop_loss_price: Decimal


def plan_entry(
    rules: SizingRules,
    *,
    side: Side,
    capital_usd: Decimal,
    price: Decimal,
    qty_max: Decimal | None = None,
    notional_max_usd: Decimal | None = None,
) -> EntryPlan | None:
    """Plan a marketable, bracketed entry; None when not even one share fits.

    The plan's notional never exceeds `capital_usd` times `position_pct`, nor the given maxima.

    Parameters
    ----------
    side : buy opens a long position, sell a short one
    price : what can be traded at now: the ask for a buy, the bid for a sell
    """
    limit_price = (price * (1 + _toward(side) * rules.collar_pct)).quantize(CENT, ROUND_HALF_UP)
    # Below the entry there has to be room for a leg, at least a cent.
    if min(price, limit_price) <= CENT:
        return None
    budget = capital_usd * rules.position_pct
    if notional_max_usd is not None:
        budget = min(budget, notional_max_usd)
    # A sale may fill above its limit, at the bid.
    qty = (budget / max(limit_price, price)).to_integral_value(ROUND_DOWN)
    if qty_max is not None:
        qty = min(qty, qty_max.to_integral_value(ROUND_DOWN))
    if qty < 1:
        return None
    take_profit, stop_loss = _legs(rules, side, price, limit_price)
    return EntryPlan(qty=qty, limit_price=limit_price, take_profit_price=take_profit, stop_loss_price=stop_loss)


def _legs(rules: SizingRules, side: Side, price: Decimal, limit_price: Decimal) -> tuple[Decimal, Decimal]:
    """Return take-profit and stop-loss: on either side of the entry, at least a cent away, as the broker wants."""
    target = price * (1 + _toward(side) * rules.take_profit_pct)
    stop = price * (1 - _toward(side) * rules.stop_loss_pct)
    if side is Side.BUY:
        take_profit = max(target.quantize(CENT, ROUND_CEILING), limit_price + CENT)
        stop_loss = min(stop.quantize(CENT, ROUND_FLOOR), price.quantize(CENT, ROUND_FLOOR) - CENT)
    else:
        take_profit = min(target.quantize(CENT, ROUND_FLOOR), limit_price - CENT)
        stop_loss = max(stop.quantize(CENT, ROUND_CEILING), price.quantize(CENT, ROUND_CEILING) + CENT)
    return max(take_profit, CENT), max(stop_loss, CENT)


def _toward(side: Side) -> int:
    """Return the direction in which a position of this side earns."""
    return 1 if side is Side.BUY else -1
