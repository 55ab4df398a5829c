from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain.protections import (
    Break,
    ClosedTrade,
    LockoutPlan,
    ProtectionFacts,
    drawdown_usd,
    looks_back_to,
    plan_break_lockouts,
    plan_trade_lockouts,
)
from engine.domain.risk_config import PortfolioRiskConfig
from tests.unit.engine.builders import NOON

COOLDOWN = {"cooldown_lockout": {"enabled": True, "lock_minutes": 30}}
CAPITAL = {"profile": Decimal(1000), "other": Decimal(1000)}


def closed(number: int, **changes: Any) -> ClosedTrade:
    """Return a trade that was stopped out `number` hours ago by the market, a minute ago by the clock."""
    trade = {
        "trade_id": f"trade-{number}", "profile_id": "profile", "symbol": "AAPL", "exit_reason": "stop_loss",
        "pnl_usd": Decimal(-10), "closed_at": NOON - timedelta(hours=number), "age_s": Decimal(60),
    }  # fmt: skip
    return ClosedTrade(**trade | changes)


def plans(*trades: ClosedTrade, **config: Any) -> list[LockoutPlan]:
    facts = ProtectionFacts(trades=tuple(trades))
    read = PortfolioRiskConfig.from_db_json(config)
    return plan_trade_lockouts(facts, read, capital_usd=CAPITAL, market_now=NOON)


def switched_off(*names: str) -> dict[str, Any]:
    return {f"{name}_lockout": {"enabled": False} for name in names}


class TestCooldown:
    def test_a_closed_trade_cools_its_symbol_down_for_its_profile(self) -> None:
        (plan,) = plans(closed(1, exit_reason="signal"), **COOLDOWN)

        assert (plan.lockout_type, plan.ticker, plan.profile_id, plan.cause) == (
            "cooldown", "AAPL", "profile", "trade:trade-1",
        )  # fmt: skip
        assert plan.reason == "Cooling down: AAPL was closed by signal."

    def test_it_counts_from_the_exit_not_from_the_look(self) -> None:
        minutes = [plans(closed(1, age_s=Decimal(age)), **COOLDOWN) for age in (0, 60, 1799, 1800)]

        assert [[plan.minutes for plan in each] for each in minutes] == [[30], [29], [1], []]

    def test_gains_cool_nothing_down_where_only_losses_shall(self) -> None:
        config = {"cooldown_lockout": {"enabled": True, "losses_only": True}}

        assert [p.cause for p in plans(closed(1), closed(2, pnl_usd=Decimal(5)), **config)] == ["trade:trade-1"]

    def test_it_is_off_unless_somebody_wants_it(self) -> None:
        assert plans(closed(1, exit_reason="signal")) == []


class TestStoplossGuard:
    def test_stops_in_a_row_lock_their_symbol_for_their_profile(self) -> None:
        (plan,) = plans(closed(3), closed(2), closed(1), **switched_off("drawdown"))

        assert (plan.lockout_type, plan.ticker, plan.profile_id) == ("stoploss_guard", "AAPL", "profile")
        assert plan.reason == "3 positions were stopped out within 24 hours."
        assert plan.cause == "trade:trade-1"  # the next stop is another cause
        assert plan.detail == {"trades": ["trade-3", "trade-2", "trade-1"], "limit": 3}

    @pytest.mark.parametrize(
        "third",
        [
            closed(1, symbol="IBM"),
            closed(1, profile_id="other"),
            closed(1, exit_reason="signal"),
            closed(1, exit_reason="trailing_stop", pnl_usd=Decimal(5)),  # a stop that earned
            closed(25),  # too long ago
        ],
    )
    def test_what_is_no_stop_of_the_same_kind_does_not_count(self, third: ClosedTrade) -> None:
        assert plans(closed(3), closed(2), third) == []

    def test_a_trailing_stop_at_a_loss_counts(self) -> None:
        assert plans(closed(3), closed(2), closed(1, exit_reason="trailing_stop"))

    def test_every_symbol_is_locked_where_the_profile_is_meant(self) -> None:
        config = {"stoploss_lockout": {"per_symbol": False}}

        assert [p.ticker for p in plans(closed(3), closed(2, symbol="IBM"), closed(1), **config)] == ["*"]


class TestDrawdown:
    def test_losses_beyond_the_limit_lock_the_whole_profile(self) -> None:
        (plan,) = plans(closed(2, pnl_usd=Decimal(-100)), closed(1, pnl_usd=Decimal(-50)))

        assert (plan.lockout_type, plan.ticker, plan.profile_id) == ("drawdown", "*", "profile")
        assert plan.reason == "Closed trades lost 15.0% of the capital within 5 days."

    @pytest.mark.parametrize(
        "trades",
        [
            (closed(2, pnl_usd=Decimal(-149)),),
            (closed(2, pnl_usd=Decimal(-100)), closed(1, pnl_usd=Decimal(-50), profile_id="other")),
            (closed(200, pnl_usd=Decimal(-500)),),  # before the time looked at
            (closed(1, pnl_usd=Decimal(-500), profile_id="nobody's"),),
        ],
    )
    def test_less_is_none(self, trades: tuple[ClosedTrade, ...]) -> None:
        assert plans(*trades) == []

    @pytest.mark.parametrize(
        ("profits", "drawdown"), [((), 0), ((-5,), 5), ((10, -3), 3), ((10, -3, 5), 0), ((-5, 10, -4, -4), 8)]
    )
    def test_it_counts_from_the_highest_point(self, profits: tuple[int, ...], drawdown: int) -> None:
        assert drawdown_usd([Decimal(profit) for profit in profits]) == drawdown


def a_break(**changes: Any) -> Break:
    seen = {"finding_id": "3", "kind": "POSITION_MISMATCH", "symbol": "AAPL", "age_s": Decimal(90), "seen_again": True}
    return Break(**seen | changes)


class TestBreaks:
    RULES = PortfolioRiskConfig().reconciliation_lockout

    def test_a_break_that_lasts_locks_its_symbol_for_everyone(self) -> None:
        (plan,) = plan_break_lockouts([a_break()], self.RULES)

        assert (plan.lockout_type, plan.ticker, plan.profile_id, plan.minutes) == ("reconciliation", "AAPL", None, 29)
        assert plan.reason == "Our books and the broker's differ: POSITION_MISMATCH in AAPL."

    @pytest.mark.parametrize(
        "change",
        [
            {"seen_again": False},  # an order in flight
            {"kind": "POSITION_UNPROTECTED"},  # repaired within seconds
            {"age_s": Decimal(1800)},
        ],
    )
    def test_others_lock_nothing(self, change: dict[str, Any]) -> None:
        assert plan_break_lockouts([a_break(**change)], self.RULES) == []


def test_the_look_back_reaches_as_far_as_the_longest_rule() -> None:
    config = PortfolioRiskConfig.from_db_json

    assert looks_back_to(config({}), NOON) == NOON - timedelta(days=5)
    assert looks_back_to(config(switched_off("drawdown")), NOON) == NOON - timedelta(days=1)


def test_nothing_is_planned_where_everything_is_off() -> None:
    losing = [closed(n, pnl_usd=Decimal(-500)) for n in (3, 2, 1)]

    assert plans(*losing, **switched_off("cooldown", "stoploss", "drawdown")) == []
