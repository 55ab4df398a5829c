from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.broker_types import Side
from engine.domain.sizing import CENT, SizingRules, plan_entry

SIDES = st.sampled_from(Side)
FRACTIONS = st.decimals("0.001", "0.9", places=3)
PRICES = st.decimals("0.02", "100000", places=2)
MONEY = st.decimals("0", "10000000", places=2)
RULES = st.builds(
    SizingRules, position_pct=FRACTIONS, stop_loss_pct=FRACTIONS, take_profit_pct=FRACTIONS, collar_pct=FRACTIONS
)


@given(RULES, SIDES, MONEY, PRICES, st.none() | MONEY, st.none() | MONEY)
def test_a_plan_never_exceeds_any_limit(
    rules: SizingRules,
    side: Side,
    capital: Decimal,
    price: Decimal,
    qty_max: Decimal | None,
    notional_max: Decimal | None,
) -> None:
    plan = plan_entry(
        rules, side=side, capital_usd=capital, price=price, qty_max=qty_max, notional_max_usd=notional_max
    )

    if plan is None:
        return
    # A sale at its limit may fill above it, at the bid.
    notional = plan.qty * max(plan.limit_price, price)
    assert notional <= capital * rules.position_pct
    assert notional_max is None or notional <= notional_max
    assert qty_max is None or plan.qty <= qty_max
    assert plan.qty == plan.qty.to_integral_value() >= 1


@given(RULES, SIDES, MONEY, PRICES)
def test_the_legs_lie_on_either_side_in_whole_cents(
    rules: SizingRules, side: Side, capital: Decimal, price: Decimal
) -> None:
    plan = plan_entry(rules, side=side, capital_usd=capital, price=price)

    if plan is None:
        return
    if side is Side.BUY:
        assert 0 < plan.stop_loss_price < price <= plan.limit_price + CENT
        assert plan.limit_price < plan.take_profit_price
    else:
        assert 0 < plan.take_profit_price < plan.limit_price <= price + CENT
        assert price < plan.stop_loss_price
    for level in (plan.limit_price, plan.stop_loss_price, plan.take_profit_price):
        assert level == level.quantize(CENT)


@given(RULES, SIDES, MONEY, MONEY, PRICES)
def test_more_capital_never_trades_less(
    rules: SizingRules, side: Side, capital: Decimal, more: Decimal, price: Decimal
) -> None:
    smaller = plan_entry(rules, side=side, capital_usd=capital, price=price)
    larger = plan_entry(rules, side=side, capital_usd=capital + more, price=price)

    assert (smaller.qty if smaller else 0) <= (larger.qty if larger else 0)
