"""The figures of performance: what each is called, how it is worked out, and whether more of it is better."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pages.components.figures import Figure
from pages.components.formats import NOTHING, age, count, money, ratio, share, short_money, signed_money, signed_percent
from pages.components.performance import Outcome, Performance


@dataclass(frozen=True)
class _Kpi:
    label: str
    value: Callable[[Outcome], float]
    written: Callable[[float], str]
    help: str
    good: int = 1  # 1: more is better, -1: less is, 0: neither


def _sessions(number: float) -> str:
    return count(int(number), "session")


def _days(seconds: float) -> str:
    return NOTHING if seconds != seconds else age(timedelta(seconds=seconds))


_RESULT = (
    _Kpi("Result", lambda o: float(o.results_usd.sum()), signed_money,
         "Realised and unrealised profit of the period: its change from before the first session to the last."),
    _Kpi("Return", lambda o: o.over_returns.total_return, signed_percent,
         "Daily returns multiplied up: (1 + r1) × (1 + r2) × … − 1. A day's return is its result over the "
         "equity before it, "
         "so money put in or taken out does not count."),
    _Kpi("Against the benchmark", lambda o: o.over_benchmark.excess_return, signed_percent,
         "Return minus the benchmark's, over the sessions that both have."),
    _Kpi("CAGR", lambda o: o.over_returns.cagr, signed_percent,
         "The yearly growth that would have brought the same: (1 + return) ^ (252 / sessions) − 1. Says little "
         "for a few months."),
    _Kpi("Deepest drawdown", lambda o: o.over_returns.max_drawdown, signed_percent,
         "The largest fall from a peak within the period, as a share of that peak."),
)  # fmt: skip
_RISK = (
    _Kpi("Drawdown now", lambda o: o.over_returns.current_drawdown, signed_percent,
         "How far the last session lies below the period's peak."),
    _Kpi("Longest drawdown", lambda o: float(o.over_returns.longest_drawdown_sessions), _sessions,
         "The longest run of sessions below an earlier peak.", -1),
    _Kpi("Volatility", lambda o: o.over_returns.volatility, share,
         "Standard deviation of daily returns × √252.", -1),
    _Kpi("Sharpe", lambda o: o.over_returns.sharpe, ratio,
         "Mean daily return over its standard deviation, × √252. No risk-free rate is taken off."),
    _Kpi("Sortino", lambda o: o.over_returns.sortino, ratio,
         "Like Sharpe, but over the spread of the losing days alone."),
    _Kpi("Calmar", lambda o: o.over_returns.calmar, ratio, "CAGR over the deepest drawdown."),
    _Kpi("Value at risk, 95 %", lambda o: o.over_returns.value_at_risk, signed_percent,
         "On one day in twenty the return was lower than this."),
    _Kpi("Expected shortfall", lambda o: o.over_returns.expected_shortfall, signed_percent,
         "The mean return of the worst twentieth of all days."),
    _Kpi("Omega", lambda o: o.over_returns.omega, ratio,
         "Sum of the winning days' returns over the sum of the losing days'."),
    _Kpi("Beta", lambda o: o.over_benchmark.beta, ratio,
         "How strongly daily returns follow the benchmark's: covariance over the benchmark's variance.", 0),
    _Kpi("Alpha", lambda o: o.over_benchmark.alpha, signed_percent,
         "What was earned beyond beta × benchmark, per year."),
    _Kpi("Information ratio", lambda o: o.over_benchmark.information_ratio, ratio,
         "Mean daily lead over the benchmark, over the spread of that lead, × √252."),
    _Kpi("Winning days", lambda o: o.over_returns.winning_days, share, "Sessions with a gain over all sessions."),
    _Kpi("Best day", lambda o: o.over_returns.best_day, signed_percent, "The highest return of one session."),
    _Kpi("Worst day", lambda o: o.over_returns.worst_day, signed_percent, "The lowest return of one session."),
)  # fmt: skip
_TRADES = (
    _Kpi("Closed trades", lambda o: float(o.over_trades.trades), lambda n: f"{n:,.0f}",
         "Trades that were closed within the period, whenever they were opened.", 0),
    _Kpi("Won trades", lambda o: o.over_trades.win_rate, share, "Closed trades with a gain over all closed trades."),
    _Kpi("Profit factor", lambda o: o.over_trades.profit_factor, ratio,
         "Sum of gains over sum of losses; ∞ while nothing was lost."),
    _Kpi("Expectancy", lambda o: o.over_trades.expectancy_usd, signed_money, "Result per closed trade."),
    _Kpi("Expectancy ratio", lambda o: o.over_trades.expectancy_ratio, ratio,
         "Expectancy over the average loss: what one dollar at risk has brought."),
    _Kpi("SQN", lambda o: o.over_trades.sqn, ratio,
         "System quality number: √trades × mean result over the results' standard deviation."),
    _Kpi("Average gain", lambda o: o.over_trades.average_gain_usd, signed_money,
         "Sum of gains over the number of won trades."),
    _Kpi("Average loss", lambda o: o.over_trades.average_loss_usd, signed_money,
         "Sum of losses over the number of lost trades."),
    _Kpi("Payoff ratio", lambda o: o.over_trades.payoff_ratio, ratio, "Average gain over average loss."),
    _Kpi("Time held", lambda o: o.over_trades.holding_s, _days,
         "Mean time from a trade's first fill to its last, in market time.", 0),
    _Kpi("Volume", lambda o: o.over_trades.volume_usd, lambda v: short_money(v).lstrip("+"),
         "What was bought and sold by the closed trades, in USD.", 0),
    _Kpi("Turnover", lambda o: o.over_trades.volume_usd / max(o.over_returns.sessions, 1), money,
         "Volume of the closed trades per session.", 0),
    _Kpi("Trades per session", lambda o: o.over_trades.trades / max(o.over_returns.sessions, 1), ratio,
         "Closed trades over sessions.", 0),
)  # fmt: skip


def result_figures(found: Performance) -> list[Figure]:
    """Return the figures that come first: what was earned."""
    return [_figure(kpi, found) for kpi in _RESULT]


def risk_figures(found: Performance) -> list[Figure]:
    """Return the figures over daily returns: what it was earned with."""
    return [_figure(kpi, found) for kpi in _RISK]


def trade_kpis(found: Performance) -> list[Figure]:
    """Return the figures over closed trades, and which symbols brought the most and the least."""
    return [*(_figure(kpi, found) for kpi in _TRADES), *_extremes(found.now)]


def _figure(kpi: _Kpi, found: Performance) -> Figure:
    value = kpi.value(found.now)
    if found.before is None:
        return Figure(kpi.label, kpi.written(value), kpi.help)
    earlier = kpi.value(found.before)
    tone = _tone(kpi, value, earlier)
    word = {"good": "better than", "bad": "worse than", "plain": "was"}[tone]
    return Figure(kpi.label, kpi.written(value), kpi.help, f"{word} {kpi.written(earlier)}", tone)


def _tone(kpi: _Kpi, value: float, earlier: float) -> Literal["good", "bad", "plain"]:
    gain = (value - earlier) * kpi.good
    return "good" if gain > 0 else "bad" if gain < 0 else "plain"


def _extremes(outcome: Outcome) -> list[Figure]:
    symbols = outcome.statistics.by["symbol"]
    if symbols.empty:
        return []
    results = (symbols["gains_usd"] - symbols["losses_usd"]).set_axis(symbols["key"])
    return [
        Figure(
            "Best symbol",
            str(results.idxmax()),
            "The symbol whose closed trades brought the most.",
            signed_money(results.max()),
        ),
        Figure(
            "Worst symbol",
            str(results.idxmin()),
            "The symbol whose closed trades brought the least.",
            signed_money(results.min()),
        ),
    ]
