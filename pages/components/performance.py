"""What trading has brought over a period, beside the period before and a benchmark."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import pandas as pd

from db.queries.bars import daily_closes
from db.queries.equity import equity_curve, equity_of_profiles
from db.queries.performance import Statistics, StatisticsFilters, trade_statistics
from engine.domain.metrics import (
    BenchmarkStats,
    ReturnStats,
    TradeStats,
    benchmark_stats,
    buy_and_hold,
    daily_returns,
    return_stats,
    trade_stats,
)
from pages.components.filters import PerformanceChoice
from pages.components.periods import Period, period_before, period_of
from pages.session.guard import Session

_COUNTS = ("trades", "wins", "losses")
_AMOUNTS = ("gains_usd", "losses_usd", "pnl_squared", "holding_s", "volume_usd")
_SUMS = (*_COUNTS, *_AMOUNTS)


@dataclass(frozen=True)
class Outcome:
    """What one period brought. `results_usd` and `returns` by session date; `benchmark` may be empty."""

    period: Period
    results_usd: pd.Series
    returns: pd.Series
    benchmark: pd.Series
    statistics: Statistics
    over_returns: ReturnStats
    over_benchmark: BenchmarkStats
    over_trades: TradeStats


@dataclass(frozen=True)
class Performance:
    """A period's outcome and that of the one before; None where there was nothing before."""

    now: Outcome
    before: Outcome | None


def read_performance(session: Session, choice: PerformanceChoice) -> Performance | None:
    """Return the outcome of the chosen period; None while fewer than two sessions are recorded."""
    curve = _curve(session, choice)
    if len(curve) < 2:
        return None
    first, last = (curve["session_date"].iloc[n].date() for n in (0, -1))
    period = period_of(choice.period, first, last)
    earlier = period_before(choice.period, period, first)
    benchmark = _benchmark(session, choice, earlier or period)
    before = _outcome(session, choice, curve, benchmark, earlier) if earlier else None
    return Performance(_outcome(session, choice, curve, benchmark, period), before)


def _curve(session: Session, choice: PerformanceChoice) -> pd.DataFrame:
    if choice.profile_ids:
        return equity_of_profiles(session.client, choice.profile_ids)
    return equity_curve(session.client)


def _benchmark(session: Session, choice: PerformanceChoice, earliest: Period) -> pd.Series:
    start = datetime.combine(earliest.since, time(), UTC) - timedelta(days=10)
    closes = daily_closes(session.client, choice.benchmark_symbols, start, start + timedelta(days=36600))
    return buy_and_hold(closes) if len(closes) > 1 else pd.Series(dtype="float64")


def _outcome(
    session: Session, choice: PerformanceChoice, curve: pd.DataFrame, benchmark: pd.Series, period: Period
) -> Outcome:
    returns = _within(daily_returns(curve), period)
    profit = (curve["realized_usd"] + curve["unrealized_usd"]).set_axis(pd.DatetimeIndex(curve["session_date"]))
    other = _within(benchmark, period)
    other = other[other.index.isin(returns.index)]
    filters = StatisticsFilters(since=period.since, until=period.until, profile_ids=choice.profile_ids)
    statistics = trade_statistics(session.client, filters)
    return Outcome(
        period=period,
        results_usd=_within(profit.diff().iloc[1:], period),
        returns=returns,
        benchmark=other,
        statistics=statistics,
        over_returns=return_stats(returns),
        over_benchmark=benchmark_stats(returns, other),
        over_trades=stats_of(statistics.total),
    )


def compared_words(found: Performance) -> str:
    """Return which months the figures are of, and which they are compared with."""
    if found.before is None:
        return f"{found.now.period.words()}. As long a period before it is not recorded, so nothing is compared."
    return f"{found.now.period.words()}. Beneath each figure: what it was in {found.before.period.words()}."


def stats_of(sums: pd.DataFrame) -> TradeStats:
    """Return the figures over the trades that rows of sums stand for, taken together."""
    return stats_of_each(pd.DataFrame({name: [sums[name].sum()] for name in _SUMS}))[0]


def stats_of_each(sums: pd.DataFrame) -> list[TradeStats]:
    """Return the figures over the trades that each row of sums stands for."""
    return [
        trade_stats(**{name: int(row[name]) for name in _COUNTS}, **{name: float(row[name]) for name in _AMOUNTS})  # type: ignore[arg-type]
        for row in sums[list(_SUMS)].to_dict("records")
    ]


def _within(values: pd.Series, period: Period) -> pd.Series:
    if values.empty:
        return values
    return values[(values.index >= pd.Timestamp(period.since)) & (values.index < pd.Timestamp(period.until))]
