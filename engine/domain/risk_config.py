"""The portfolio's risk configuration as stored in `risk_configs.config`.

Missing keys take the shipped defaults of `operator_approval`; a missing limit stays None, and a limit
that is not set blocks. Unknown keys are kept as they are.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class TradingMode(StrEnum):
    """What a profile trades with."""

    PAPER = "paper"
    LIVE = "live"
    DISABLED = "disabled"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class OrderLimits(_Section):
    """Limits on one order. `price_collar_pct` is a fraction of the quote: 0.05 is 5 %."""

    qty_max: Decimal | None = Field(default=None, gt=0)
    notional_max_usd: Decimal | None = Field(default=None, gt=0)
    price_collar_pct: Decimal | None = Field(default=None, gt=0, le=1)
    entry_ttl_s: Decimal = Field(default=Decimal(60), gt=0)
    permit_ttl_s: Decimal = Field(default=Decimal(10), gt=0)


class PositionLimits(_Section):
    """Limits on what one profile may hold."""

    positions_max: int | None = Field(default=None, ge=0)
    open_orders_max: int | None = Field(default=None, ge=0)
    position_notional_max_usd: Decimal | None = Field(default=None, gt=0)


class OperatorApproval(_Section):
    """When a person has to approve an entry."""

    auto_approve_paper: bool = True
    require_approval_for_live: bool = True
    approval_timeout_minutes: int = Field(default=15, ge=1, le=1440)


class PortfolioRiskConfig(_Section):
    """One version of the risk configuration."""

    order_limits: OrderLimits = OrderLimits()
    position_limits: PositionLimits = PositionLimits()
    operator_approval: OperatorApproval = OperatorApproval()

    @classmethod
    def from_db_json(cls, config: Mapping[str, Any]) -> Self:
        """Read a stored configuration.

        Raises
        ------
        pydantic.ValidationError if a value is out of its bounds
        """
        return cls.model_validate(config)


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
