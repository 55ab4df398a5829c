from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.sizing import CENT, SizingRules, plan_entry

FRACTIONS = st.decimals("0.001", "0.9", places=3)
PRICES = st.decimals("0.02", "100000", places=2)
MONEY = st.decimals("0", "10000000", places=2)
RULES = st.builds(
    SizingRules, position_pct=FRACTIONS, stop_loss_pct=FRACTIONS, take_profit_pct=FRACTIONS, collar_pct=FRACTIONS
)


@given(RULES, MONEY, PRICES, st.none() | MONEY, st.none() | MONEY)
def test_a_plan_never_exceeds_any_limit(
    rules: SizingRules, capital: Decimal, ask: Decimal, qty_max: Decimal | None, notional_max: Decimal | None
) -> None:
    plan = plan_entry(rules, capital_usd=capital, ask=ask, qty_max=qty_max, notional_max_usd=notional_max)

    if plan is None:
        return
    notional = plan.qty * plan.limit_price
    assert notional <= capital * rules.position_pct
    assert notional_max is None or notional <= notional_max
    assert qty_max is None or plan.qty <= qty_max
    assert plan.qty == plan.qty.to_integral_value() >= 1


@given(RULES, MONEY, PRICES)
def test_the_legs_lie_on_either_side_in_whole_cents(rules: SizingRules, capital: Decimal, ask: Decimal) -> None:
    plan = plan_entry(rules, capital_usd=capital, ask=ask)

    if plan is None:
        return
    assert 0 < plan.stop_loss_price < ask <= plan.limit_price + CENT
    assert plan.limit_price < plan.take_profit_price
    for price in (plan.limit_price, plan.stop_loss_price, plan.take_profit_price):
        assert price == price.quantize(CENT)


@given(RULES, MONEY, MONEY, PRICES)
def test_more_capital_never_buys_less(rules: SizingRules, capital: Decimal, more: Decimal, ask: Decimal) -> None:
    smaller = plan_entry(rules, capital_usd=capital, ask=ask)
    larger = plan_entry(rules, capital_usd=capital + more, ask=ask)

    assert (smaller.qty if smaller else 0) <= (larger.qty if larger else 0)
