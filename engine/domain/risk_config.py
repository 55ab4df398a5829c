"""The portfolio's risk configuration as stored in `risk_configs.config`.

A missing limit stays None, and a limit that is not set blocks; what is no limit takes its shipped default.
Unknown keys are kept as they are. The database judges with the same bounds (`private.risk_config_error`).
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from re import fullmatch
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

ALL_TRADED: Final = "*"


class TradingMode(StrEnum):
    """What a profile trades with."""

    PAPER = "paper"
    LIVE = "live"
    DISABLED = "disabled"


def _plain(value: Any) -> str:
    """Return a number as plain digits; words, signs, exponents and booleans are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise ValueError("must be a number")
    return value if isinstance(value, str) else format(Decimal(str(value)), "f")


def _number(value: Any) -> Decimal:
    text = _plain(value)
    if not fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text):
        raise ValueError("must be a number above 0 in plain digits")
    return Decimal(text)


def _count(value: Any) -> int:
    text = _plain(value)
    if not fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("must be a whole number")
    return int(text)


Number = Annotated[Decimal, BeforeValidator(_number), Field(gt=0)]
Fraction = Annotated[Decimal, BeforeValidator(_number), Field(gt=0, le=1)]
Count = Annotated[int, BeforeValidator(_count)]
Share = Annotated[Decimal, BeforeValidator(_number), Field(gt=0, le=10)]
Usd = Annotated[Decimal, BeforeValidator(_number), Field(gt=0, le=Decimal(10) ** 12)]
Seconds = Annotated[Decimal, BeforeValidator(_number), Field(gt=0, le=86400)]
Ticker = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Z][A-Z0-9./-]{0,14})$", strict=True)]  # "*": all
LockMinutes = Annotated[Count, Field(ge=1, le=525_600)]
SectorName = Annotated[str, StringConstraints(min_length=1, max_length=40, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class OrderLimits(_Section):
    """Limits on one order. `price_collar_pct` is a fraction of the quote: 0.05 is 5 %."""

    qty_max: Annotated[Number, Field(le=Decimal(10) ** 9)] | None = None
    notional_max_usd: Usd | None = None
    price_collar_pct: Fraction | None = None
    signal_bars_max: Annotated[Number, Field(le=10_000)] | None = None
    quote_age_max_s: Annotated[Number, Field(le=2_592_000)] | None = None
    entry_ttl_s: Seconds = Decimal(60)
    permit_ttl_s: Annotated[Number, Field(le=300)] = Decimal(10)


class PositionLimits(_Section):
    """Limits on what one profile may hold."""

    positions_max: Annotated[Count, Field(le=100_000)] | None = None
    open_orders_max: Annotated[Count, Field(le=100_000)] | None = None
    position_notional_max_usd: Usd | None = None


class SectorExposure(_Section):
    """How much of the owner's capital may be in one sector; a symbol without one is in "other"."""

    max_pct: Share | None = None
    sectors: dict[str, SectorName] = Field(default_factory=dict)


class GrossExposure(_Section):
    """How much of the owner's capital may be held or entered at once."""

    max_pct: Share | None = None


class OrderRate(_Section):
    """How many entries a profile may make, in market time."""

    per_minute_max: Annotated[Count, Field(le=100_000)] | None = None
    per_day_max: Annotated[Count, Field(le=100_000)] | None = None
    repeats_max: Annotated[Count, Field(ge=1, le=100_000)] | None = None
    repeats_window_s: Seconds = Decimal(3600)


class LossLimits(_Section):
    """When losses stop a profile's entries; fractions of its capital and of its peak equity."""

    daily_loss_max_pct: Fraction | None = None
    drawdown_max_pct: Fraction | None = None
    loss_streak_max: Annotated[Count, Field(ge=1, le=1000)] | None = None
    loss_streak_days: Annotated[Number, Field(le=3650)] = Decimal(5)


class MarketHours(_Section):
    """Whether entries may be placed while the market is closed; they wait for its opening."""

    entries_when_closed: StrictBool | None = None


class SignalLayers(_Section):
    """Filters that a strategy's entries pass through, switched on or off; windows in daily bars.

    With `*` the average of all traded symbols is the index.
    """

    macro: StrictBool = False
    macro_index: Ticker = ALL_TRADED
    macro_window_bars: Annotated[Count, Field(ge=2, le=390)] = 200
    competitive: StrictBool = False
    competitive_window_bars: Annotated[Count, Field(ge=1, le=390)] = 60


class AlertBounds(_Section):
    """From when on somebody is told; `volatility_daily` and `daily_loss_fraction` are fractions: 0.03 is 3 %."""

    paused_s: Annotated[Number, Field(le=2_592_000)] = Decimal(3600)
    flapping_changes: Annotated[Count, Field(ge=2, le=1000)] = 6
    flapping_window_s: Seconds = Decimal(600)
    volatility_daily: Fraction = Decimal("0.03")
    engine_silent_s: Seconds = Decimal(15)
    unprotected_s: Seconds = Decimal(10)
    approval_left_s: Seconds = Decimal(120)
    daily_loss_fraction: Fraction = Decimal("0.8")


class Retention(_Section):
    """For how many days what grows without end is kept; None: for good."""

    decisions_days: Annotated[Count, Field(ge=30, le=36500)] | None = None
    order_events_days: Annotated[Count, Field(ge=30, le=36500)] | None = None
    bars_days: Annotated[Count, Field(ge=30, le=36500)] | None = None
    alerts_days: Annotated[Count, Field(ge=30, le=36500)] | None = None


class CooldownLockout(_Section):
    """No entries in a symbol for a while after a profile has closed a trade in it."""

    enabled: StrictBool = False
    lock_minutes: LockMinutes = 30
    losses_only: StrictBool = False


class StoplossLockout(_Section):
    """No entries after stop-losses in a row: in the symbol, or in every symbol of the profile."""

    enabled: StrictBool = True
    stops_max: Annotated[Count, Field(ge=1, le=1000)] = 3
    lookback_hours: Annotated[Number, Field(le=8760)] = Decimal(24)
    lock_minutes: LockMinutes = 60
    per_symbol: StrictBool = True


class DrawdownLockout(_Section):
    """No entries of a profile after its closed trades have lost a fraction of its capital."""

    enabled: StrictBool = True
    drawdown_max_pct: Fraction = Decimal("0.15")
    lookback_days: Annotated[Number, Field(le=365)] = Decimal(5)
    lock_minutes: LockMinutes = 240


class NewsLockout(_Section):
    """No entries in a symbol after alarming headlines, or after moves that are not usual.

    `_pct` are fractions of the last close; sigmas are of the last `move_bars` daily returns.
    """

    enabled: StrictBool = True
    headlines: StrictBool = True
    score_min: Annotated[Count, Field(ge=1, le=100)] = 3
    lookback_minutes: Annotated[Count, Field(ge=1, le=10_080)] = 60
    moves: StrictBool = True
    move_sigmas_min: Annotated[Number, Field(le=100)] = Decimal(5)
    move_min_pct: Fraction = Decimal("0.05")
    gap_min_pct: Fraction = Decimal("0.08")
    move_bars: Annotated[Count, Field(ge=11, le=250)] = 20
    lock_minutes: LockMinutes = 60


class ReconciliationLockout(_Section):
    """No entries in a symbol in which our books and the broker's differ, and for a while after."""

    enabled: StrictBool = True
    lock_minutes: LockMinutes = 30


class OperatorApproval(_Section):
    """When a person has to approve an entry: by trading mode, and by the rules that are set."""

    auto_approve_paper: StrictBool = True
    require_approval_for_live: StrictBool = True
    approval_timeout_minutes: Annotated[Count, Field(ge=1, le=1440)] = 15
    four_eyes: StrictBool = False
    notional_above_usd: Usd | None = None
    first_trade_in_symbol: StrictBool = False
    off_hours: StrictBool = False
    after_loss_streak: Annotated[Count, Field(ge=1, le=1000)] | None = None


class PortfolioRiskConfig(_Section):
    """One version of the risk configuration."""

    order_limits: OrderLimits = OrderLimits()
    position_limits: PositionLimits = PositionLimits()
    sector_exposure: SectorExposure = SectorExposure()
    gross_exposure: GrossExposure = GrossExposure()
    order_rate: OrderRate = OrderRate()
    loss_limits: LossLimits = LossLimits()
    market_hours: MarketHours = MarketHours()
    signal_layers: SignalLayers = SignalLayers()
    cooldown_lockout: CooldownLockout = CooldownLockout()
    stoploss_lockout: StoplossLockout = StoplossLockout()
    drawdown_lockout: DrawdownLockout = DrawdownLockout()
    news_lockout: NewsLockout = NewsLockout()
    reconciliation_lockout: ReconciliationLockout = ReconciliationLockout()
    alerts: AlertBounds = AlertBounds()
    retention: Retention = Retention()
    operator_approval: OperatorApproval = OperatorApproval()

    @classmethod
    def from_db_json(cls, config: Mapping[str, Any]) -> Self:
        """Read a stored configuration.

        Raises
        ------
        pydantic.ValidationError if a value is out of its bounds
        """
        return cls.model_validate(config)

    def to_db_json(self) -> dict[str, Any]:
        """Return the configuration as it is stored: amounts as text, unknown keys as they came."""
        return self.model_dump(mode="json")


def requires_approval(config: PortfolioRiskConfig, mode: TradingMode) -> bool:
    """Say whether a person has to approve an entry in this trading mode.

    A disabled profile never asks: the gate blocks it upstream.
    """
    match mode:
        case TradingMode.LIVE:
            return config.operator_approval.require_approval_for_live
        case TradingMode.PAPER:
            return not config.operator_approval.auto_approve_paper
        case TradingMode.DISABLED:
            return False
