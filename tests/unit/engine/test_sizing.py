from decimal import Decimal

import pytest

from engine.domain.broker_types import Side
from engine.domain.errors import ConfigError
from engine.domain.sizing import SizingRules, plan_entry

RULES = SizingRules(
    position_pct=Decimal("0.1"),
    stop_loss_pct=Decimal("0.05"),
    take_profit_pct=Decimal("0.1"),
    collar_pct=Decimal("0.01"),
)


def test_plans_whole_shares_with_legs_on_either_side_when_capital_is_enough() -> None:
    plan = plan_entry(RULES, side=Side.BUY, capital_usd=Decimal(10_000), price=Decimal("99.99"))

    assert plan is not None
    assert (plan.qty, plan.limit_price) == (9, Decimal("100.99"))
    assert (plan.stop_loss_price, plan.take_profit_price) == (Decimal("94.99"), Decimal("109.99"))


def test_a_short_entry_sells_below_the_bid_with_its_stop_above_and_its_target_below() -> None:
    plan = plan_entry(RULES, side=Side.SELL, capital_usd=Decimal(10_000), price=Decimal("99.99"))

    assert plan is not None
    assert (plan.qty, plan.limit_price) == (10, Decimal("98.99"))
    assert (plan.stop_loss_price, plan.take_profit_price) == (Decimal("104.99"), Decimal("89.99"))


@pytest.mark.parametrize("side", Side)
def test_plans_nothing_when_not_even_one_share_fits(side: Side) -> None:
    assert plan_entry(RULES, side=side, capital_usd=Decimal(900), price=Decimal(100)) is None


def test_the_smaller_limit_counts_when_several_apply() -> None:
    plan = plan_entry(
        RULES,
        side=Side.BUY,
        capital_usd=Decimal(100_000),
        price=Decimal(100),
        qty_max=Decimal(5),
        notional_max_usd=Decimal(700),
    )

    assert plan is not None
    assert plan.qty == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"position_pct": "0"},
        {"position_pct": "1.5"},
        {"stop_loss_pct": "1"},
        {"take_profit_pct": "-0.1"},
        {"stop_loss_pct": "a lot"},
        {"collar_pct": "2"},
    ],
)
def test_rules_are_refused_when_a_fraction_is_out_of_range(changes: dict[str, str]) -> None:
    params = {"position_pct": "0.1", "stop_loss_pct": "0.05", "take_profit_pct": "0.1"} | changes

    with pytest.raises(ConfigError):
        SizingRules.from_params(params)


def test_rules_are_refused_when_one_is_missing() -> None:
    with pytest.raises(ConfigError, match="take_profit_pct"):
        SizingRules.from_params({"position_pct": "0.1", "stop_loss_pct": "0.05"})
