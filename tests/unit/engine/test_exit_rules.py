from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.domain.broker_types import MarketTime
from engine.domain.errors import ConfigError
from engine.domain.exit_rules import ExitRules, bars_held, tick
from tests.unit.engine.builders import MARKET, NOON


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"trailing_stop_pct": "a lot"}, "trailing_stop_pct is 'a lot'"),
        ({"trailing_stop_pct": "0"}, "greater than 0"),
        ({"trailing_stop_pct": "5"}, "less than 1"),  # five percent is 0.05
        ({"trailing_activation_pct": "-0.1"}, "trailing_activation_pct"),
        ({"bars_held_max": 0}, "bars_held_max"),
        ({"bars_held_max": 2.5}, "bars_held_max"),
        ({"days_held_max": "soon"}, "days_held_max is 'soon'"),
        ({"stop_loss_pct": "NaN"}, "stop_loss_pct"),
        ({"take_profit_pct": "Infinity"}, "take_profit_pct"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_what_it_may_be(params: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ExitRules.from_params(params)


def test_a_strategys_own_parameters_are_left_alone() -> None:
    rules = ExitRules.from_params({"period": 14, "stop_loss_pct": "0.05", "trailing_stop_pct": 0.1})

    assert (rules.stop_loss_pct, rules.trailing_stop_pct, rules.needs_looks) == (Decimal("0.05"), Decimal("0.1"), True)


@pytest.mark.parametrize(
    ("opened", "timeframe", "bars"),
    [
        (NOON - timedelta(hours=2), "1Hour", 2),
        (NOON - timedelta(minutes=59), "1Hour", 0),
        (NOON - timedelta(days=1), "1Hour", 7),  # a session's bars, whatever the night
        (NOON - timedelta(days=1, hours=-2), "1Hour", 5),
        (NOON - timedelta(minutes=31), "5Min", 6),
        (NOON - timedelta(days=5), "1Day", 3),  # over a weekend
    ],
)
def test_bars_are_counted_in_sessions(opened: datetime, timeframe: str, bars: int) -> None:
    assert bars_held(opened, timeframe, MARKET) == bars


def test_days_are_weekdays() -> None:
    friday = datetime(2007, 1, 5, 20, tzinfo=UTC)
    monday = MarketTime(datetime(2007, 1, 8, 15, tzinfo=UTC), is_open=True)

    assert ExitRules(days_held_max=1).overdue(friday, "1Day", monday)
    assert ExitRules(days_held_max=2).overdue(friday, "1Day", monday) is None


@pytest.mark.parametrize(
    ("price", "down", "rounded"),
    [("95.018", True, "95.01"), ("95.012", False, "95.02"), ("0.12345", True, "0.1234"), ("0.00001", True, "0.0001")],
)
def test_prices_are_rounded_to_what_brokers_take(price: str, down: bool, rounded: str) -> None:
    assert tick(Decimal(price), down=down) == Decimal(rounded)


class TestWeekdays:
    @pytest.mark.parametrize(
        ("then", "now", "weekdays"),
        [
            ("2026-01-09T20:00Z", "2026-01-09T21:00Z", 0),  # Friday, later that day
            ("2026-01-09T20:00Z", "2026-01-10T15:00Z", 0),  # Friday to Saturday
            ("2026-01-09T20:00Z", "2026-01-12T15:00Z", 1),  # Friday to Monday
            ("2026-01-10T15:00Z", "2026-01-12T15:00Z", 1),  # Saturday to Monday
            ("2026-01-11T15:00Z", "2026-01-12T15:00Z", 1),  # Sunday to Monday
            ("2026-01-13T04:00Z", "2026-01-13T15:00Z", 1),  # still Monday evening in New York, then Tuesday
            ("2028-02-28T15:00Z", "2028-03-01T15:00Z", 2),  # over a leap day
        ],
    )
    def test_the_weekdays_after_a_day_are_counted_up_to_today(self, then, now, weekdays):
        market = MarketTime(datetime.fromisoformat(now), is_open=True)

        assert market.weekdays_since(datetime.fromisoformat(then)) == weekdays
