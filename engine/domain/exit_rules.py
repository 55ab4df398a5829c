"""A profile's own rules for leaving a position: stop-loss, take-profit, trailing stop, time stop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.domain.broker_types import NEW_YORK, TIMEFRAME_LENGTHS, MarketTime
from engine.domain.errors import ConfigError

SESSION_BARS: Final = {"5Min": 78, "15Min": 26, "30Min": 13, "1Hour": 7, "1Day": 1}
_CENT, _TENTH_OF_A_MILL = Decimal("0.01"), Decimal("0.0001")

Part = Annotated[Decimal, Field(gt=0, lt=1, allow_inf_nan=False)]


class ExitRules(BaseModel):
    """Every `_pct` is a fraction (0.05 is 5 %); what is not set does not apply.

    Attributes
    ----------
    stop_loss_pct, take_profit_pct : distance from the average entry price, for trades without prices
        of their own
    trailing_stop_pct : the stop follows the price at this distance, only ever in our favour
    trailing_activation_pct : ... once the price has moved this far in our favour; 0: from the start
    bars_held_max : close after this many bars of the profile's timeframe, counted in sessions
    days_held_max : close after this many weekdays
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stop_loss_pct: Part | None = None
    take_profit_pct: Annotated[Decimal, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    trailing_stop_pct: Part | None = None
    trailing_activation_pct: Annotated[Decimal, Field(ge=0, le=100, allow_inf_nan=False)] = Decimal(0)
    bars_held_max: Annotated[int, Field(ge=1, le=100_000)] | None = None
    days_held_max: Annotated[int, Field(ge=1, le=3650)] | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> ExitRules:
        """Read the rules from a profile's parameters.

        Raises
        ------
        ConfigError which names each parameter that does not fit, what it is, and what it may be
        """
        known = {name: params[name] for name in cls.model_fields if name in params}
        try:
            return cls.model_validate(known)
        except ValidationError as error:
            problems = [f"{e['loc'][0]} is {e['input']!r}: {e['msg'].lower()}" for e in error.errors()]
            raise ConfigError(f"exit parameters do not fit: {'; '.join(problems)} (0.05 means 5 %)") from None

    @property
    def needs_looks(self) -> bool:
        """Tell whether some rule is the engine's to carry out, beyond what rests at the broker."""
        return bool(self.trailing_stop_pct or self.bars_held_max or self.days_held_max)

    def overdue(self, opened_at: datetime, timeframe: str, market: MarketTime) -> str | None:
        """Return why a position has been held long enough; None while it has not."""
        days = market.weekdays_since(opened_at)
        if self.days_held_max is not None and days >= self.days_held_max:
            return f"held for {days} weekdays, {self.days_held_max} at most"
        if self.bars_held_max is None:
            return None
        bars = bars_held(opened_at, timeframe, market)
        return f"held for {bars} bars, {self.bars_held_max} at most" if bars >= self.bars_held_max else None


def bars_held(opened_at: datetime, timeframe: str, market: MarketTime) -> int:
    """Count the bars of regular sessions since a position was opened; a holiday counts as a session."""
    days = market.weekdays_since(opened_at)
    if timeframe == "1Day":
        return days
    session = SESSION_BARS[timeframe]
    within = _time_of_day(market.now) - _time_of_day(opened_at)
    part = within // int(TIMEFRAME_LENGTHS[timeframe].total_seconds())
    return max(0, days * session + max(-session, min(session, part)))


def away_from(price: Decimal, pct: Decimal, *, down: bool) -> Decimal:
    """Return the price a fraction below (`down`) or above another, as brokers take it, at least a tick."""
    return tick(price * (1 - pct if down else 1 + pct), down=down)


def tick(price: Decimal, *, down: bool) -> Decimal:
    """Round to what brokers take: whole cents from a dollar on, four decimals below."""
    step = _CENT if price >= 1 else _TENTH_OF_A_MILL
    return max(price.quantize(step, ROUND_FLOOR if down else ROUND_CEILING), step)


def _time_of_day(at: datetime) -> int:
    local = at.astimezone(NEW_YORK)
    return local.hour * 3600 + local.minute * 60 + local.second
