"""Figures of performance, each against a number worked out by hand, and what always holds of them."""

from math import inf, isnan, sqrt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.metrics import (
    benchmark_stats,
    buy_and_hold,
    daily_returns,
    drawdowns,
    excursion,
    monthly_returns,
    return_stats,
    rolling_beta,
    rolling_sharpe,
    trade_stats,
)

RETURNS = st.lists(st.floats(-0.2, 0.2, allow_subnormal=False), min_size=2, max_size=60)


def series(*returns: float, start: str = "2007-01-03") -> pd.Series:
    return pd.Series(returns, index=pd.bdate_range(start, periods=len(returns)), dtype="float64")


def curve(*rows: tuple[float, float]) -> pd.DataFrame:
    """Return a curve from pairs of equity and profit so far."""
    return pd.DataFrame(
        {
            "session_date": pd.bdate_range("2007-01-03", periods=len(rows)),
            "equity_usd": [equity for equity, _ in rows],
            "realized_usd": [profit for _, profit in rows],
            "unrealized_usd": 0.0,
        }
    )


class TestDailyReturns:
    def test_a_return_is_the_result_over_what_was_there_before(self) -> None:
        assert daily_returns(curve((100, 0), (110, 10), (99, -1))).tolist() == pytest.approx([0.10, -0.10])

    def test_money_put_in_is_no_return(self) -> None:
        assert daily_returns(curve((100, 0), (200, 0), (210, 10))).tolist() == pytest.approx([0.0, 0.05])

    def test_nothing_there_before_is_no_return(self) -> None:
        assert daily_returns(curve((0, 0), (5, 5))).tolist() == [0.0]

    def test_a_single_session_has_no_return_yet(self) -> None:
        assert daily_returns(curve((100, 0))).empty


class TestReturnStats:
    def test_figures_agree_with_those_worked_out_by_hand(self) -> None:
        stats = return_stats(series(0.02, -0.01, 0.03, -0.02))

        mean, spread = 0.005, sqrt((0.015**2 + 0.015**2 + 0.025**2 + 0.025**2) / 3)
        assert stats.total_return == pytest.approx(1.02 * 0.99 * 1.03 * 0.98 - 1)
        assert stats.volatility == pytest.approx(spread * sqrt(252))
        assert stats.sharpe == pytest.approx(mean / spread * sqrt(252))
        assert stats.sortino == pytest.approx(mean / sqrt((0.01**2 + 0.02**2) / 4) * sqrt(252))
        assert stats.max_drawdown == stats.current_drawdown == pytest.approx(-0.02)
        assert (stats.best_day, stats.worst_day, stats.winning_days) == (0.03, -0.02, 0.5)
        assert stats.calmar == pytest.approx(stats.cagr / 0.02)
        assert stats.omega == pytest.approx(0.05 / 0.03)

    def test_a_whole_year_grows_by_what_it_brought(self) -> None:
        assert return_stats(series(*[0.001] * 252)).cagr == pytest.approx(1.001**252 - 1)

    def test_the_first_loss_of_all_is_a_drawdown(self) -> None:
        assert drawdowns(series(-0.1, 0.05)).tolist() == pytest.approx([-0.1, 0.9 * 1.05 - 1])

    def test_the_longest_time_below_a_peak_is_counted_in_sessions(self) -> None:
        assert return_stats(series(0.1, -0.01, 0.02, -0.03, -0.01, -0.01, 0.1)).longest_drawdown_sessions == 3

    @pytest.mark.parametrize("returns", [(), (0.01,), (0.0, 0.0, 0.0), (0.01, 0.01)])
    def test_a_ratio_is_unknown_when_returns_do_not_say(self, returns: tuple[float, ...]) -> None:
        stats = return_stats(series(*returns))

        assert isnan(stats.sharpe)
        assert isnan(stats.calmar)

    @given(RETURNS)
    def test_drawdown_lies_between_all_and_nothing_and_the_worst_day_is_within_it(self, returns: list[float]) -> None:
        stats = return_stats(series(*returns))

        assert -1 <= stats.max_drawdown <= stats.current_drawdown <= 0
        assert stats.max_drawdown <= min(stats.worst_day, 0) + 1e-9
        assert stats.expected_shortfall <= stats.value_at_risk + 1e-9


class TestBenchmark:
    def test_a_benchmark_against_itself_adds_nothing(self) -> None:
        own = series(0.02, -0.01, 0.03, -0.02)

        stats = benchmark_stats(own, own)

        assert (stats.excess_return, stats.alpha) == pytest.approx((0.0, 0.0), abs=1e-9)
        assert (stats.beta, stats.correlation) == pytest.approx((1.0, 1.0))

    def test_twice_the_swing_has_twice_the_beta(self) -> None:
        market = series(0.02, -0.01, 0.03, -0.02)

        assert benchmark_stats(2 * market, market).beta == pytest.approx(2.0)

    def test_sessions_that_only_one_has_do_not_count(self) -> None:
        stats = benchmark_stats(series(0.5, 0.02, -0.01, start="2007-01-03"), series(0.02, -0.01, start="2007-01-04"))

        assert stats.excess_return == pytest.approx(0.0)

    def test_without_common_sessions_nothing_is_known(self) -> None:
        assert isnan(benchmark_stats(series(0.1, 0.2), series(0.1, 0.2, start="2009-01-05")).beta)

    def test_buy_and_hold_is_the_mean_of_the_changes_and_a_late_symbol_joins_later(self) -> None:
        closes = pd.DataFrame({"A": [100.0, 110.0, 121.0], "B": [float("nan"), 50.0, 45.0]},
                              index=pd.bdate_range("2007-01-03", periods=3))  # fmt: skip

        assert buy_and_hold(closes).tolist() == pytest.approx([0.10, 0.0])


class TestTradeStats:
    def sums(self, *results: float) -> dict[str, float]:
        gains, losses = [r for r in results if r > 0], [-r for r in results if r < 0]
        return {
            "trades": len(results), "wins": len(gains), "losses": len(losses), "gains_usd": sum(gains),
            "losses_usd": sum(losses), "pnl_squared": sum(r * r for r in results), "holding_s": 3600.0 * len(results),
            "volume_usd": 2000.0,
        }  # fmt: skip

    def test_figures_agree_with_those_worked_out_by_hand(self) -> None:
        stats = trade_stats(**self.sums(100, -50, 30, -20, 0))

        assert (stats.result_usd, stats.win_rate, stats.holding_s) == (60, 0.4, 3600)
        assert stats.profit_factor == pytest.approx(130 / 70)
        assert (stats.average_gain_usd, stats.average_loss_usd) == (65, -35)
        assert stats.payoff_ratio == pytest.approx(65 / 35)
        assert (stats.expectancy_usd, stats.expectancy_ratio) == pytest.approx((12, 12 / 35))
        assert stats.sqn == pytest.approx(sqrt(5) * 12 / pd.Series([100, -50, 30, -20, 0]).std())

    def test_profit_factor_without_a_loss_is_endless(self) -> None:
        assert trade_stats(**self.sums(10, 20)).profit_factor == inf

    def test_nothing_is_known_of_no_trades(self) -> None:
        stats = trade_stats(**self.sums())

        assert stats.trades == 0
        assert all(isnan(v) for v in (stats.win_rate, stats.profit_factor, stats.expectancy_usd, stats.sqn))


class TestMonthsAndExcursions:
    def test_a_month_compounds_its_days_and_an_empty_one_is_unknown(self) -> None:
        returns = pd.Series([0.1, 0.1, -0.5], index=pd.to_datetime(["2007-01-30", "2007-01-31", "2007-03-01"]))

        table = monthly_returns(returns)

        assert list(table.columns) == list(range(1, 13))
        assert table.loc[2007, 1] == pytest.approx(0.21)
        assert table.loc[2007, 3] == pytest.approx(-0.5)
        assert isnan(table.loc[2007, 2])

    def test_a_long_trade_is_helped_by_the_high_and_a_short_one_by_the_low(self) -> None:
        prices = {"entry_price": 100.0, "highs": [104.0, 102.0], "lows": [99.0, 97.0]}

        long, short = excursion(is_long=True, **prices), excursion(is_long=False, **prices)
        assert (long.favourable, long.adverse) == pytest.approx((0.04, -0.03))
        assert (short.favourable, short.adverse) == pytest.approx((0.03, -0.04))

    @given(st.lists(st.floats(1, 1000), min_size=1, max_size=20), st.floats(1, 1000), st.booleans())
    def test_an_excursion_is_never_on_the_wrong_side(self, prices: list[float], entry: float, is_long: bool) -> None:
        found = excursion(is_long=is_long, entry_price=entry, highs=prices, lows=prices)

        assert found.adverse <= 0 <= found.favourable


class TestRolling:
    DAYS = pd.date_range("2007-01-01", periods=90, freq="B")
    RETURNS = pd.Series([0.01, -0.004, 0.002, 0.0, 0.006] * 18, index=DAYS)
    MARKET = pd.Series([0.02, -0.01, 0.003, 0.001, 0.004] * 18, index=DAYS)

    def test_each_point_is_the_ratio_of_the_sessions_up_to_it(self) -> None:
        sharpe = rolling_sharpe(self.RETURNS, 63)

        assert len(sharpe) == 90 - 62
        assert sharpe.iloc[-1] == pytest.approx(return_stats(self.RETURNS.iloc[-63:]).sharpe)
        assert sharpe.index[0] == self.DAYS[62]

    def test_beta_is_that_of_the_sessions_both_have(self) -> None:
        beta = rolling_beta(self.RETURNS, self.MARKET.iloc[10:], 63)

        assert len(beta) == 80 - 62
        expected = benchmark_stats(self.RETURNS.iloc[-63:], self.MARKET.iloc[-63:]).beta
        assert beta.iloc[-1] == pytest.approx(expected)

    def test_too_few_sessions_and_no_movement_give_no_point(self) -> None:
        assert rolling_sharpe(self.RETURNS.iloc[:62], 63).empty
        assert rolling_sharpe(self.RETURNS * 0, 63).empty
        assert rolling_beta(self.RETURNS, self.MARKET * 0, 63).empty
