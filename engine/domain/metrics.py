"""What trading has brought: ratios over daily returns, figures over closed trades, excursions within one.

A thin layer over empyrical, which computes from returns and guesses nothing. Everything here is for looking at: plain
floats, never a basis for a decision. Ratios are per year where they say so, with 252 sessions to the year. What cannot
be known from so few sessions or trades is NaN, and never 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import Final

import empyrical
import numpy as np
import pandas as pd

SESSIONS_PER_YEAR: Final = 252
_FEWEST_FOR_A_RATIO: Final = 2


@dataclass(frozen=True, slots=True)
class ReturnStats:
    """Figures over a series of daily returns. Returns, drawdowns and volatility are fractions (0.01: 1 %)."""

    sessions: int
    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    current_drawdown: float
    longest_drawdown_sessions: int
    value_at_risk: float
    expected_shortfall: float
    omega: float
    tail_ratio: float
    best_day: float
    worst_day: float
    winning_days: float


@dataclass(frozen=True, slots=True)
class BenchmarkStats:
    """How returns stand to those of a benchmark, over the sessions that both have."""

    total_return: float
    excess_return: float
    alpha: float
    beta: float
    correlation: float
    information_ratio: float


@dataclass(frozen=True, slots=True)
class TradeStats:
    """Figures over closed trades. Amounts in USD, `win_rate` a fraction, `holding_s` seconds."""

    trades: int
    result_usd: float
    win_rate: float
    profit_factor: float
    expectancy_usd: float
    expectancy_ratio: float
    average_gain_usd: float
    average_loss_usd: float
    payoff_ratio: float
    sqn: float
    holding_s: float
    volume_usd: float


@dataclass(frozen=True, slots=True)
class Excursion:
    """How far the price went for and against a trade while it was open, as fractions of the entry price."""

    favourable: float
    adverse: float


def daily_returns(curve: pd.DataFrame) -> pd.Series[float]:
    """Return each session's result over what was there before it; money that is put in or taken out is no return.

    Parameters
    ----------
    curve : by session_date ascending; columns `session_date`, `equity_usd`, `realized_usd`, `unrealized_usd`

    Returns
    -------
    Series[float] by session_date, fractions; one shorter than the curve, which starts with what was there
    """
    profit = curve["realized_usd"] + curve["unrealized_usd"]
    change = profit.diff()
    base = curve["equity_usd"] - change
    returns = (change / base.where(base > 0)).fillna(0.0)
    return returns.set_axis(pd.DatetimeIndex(curve["session_date"])).iloc[1:].rename("return")


def drawdowns(returns: pd.Series[float]) -> pd.Series[float]:
    """Return how far below its highest value so far the growth of 1 lies, start included; fractions in [-1, 0]."""
    growth = (1 + returns).cumprod()
    return growth / growth.cummax().clip(lower=1.0) - 1


def return_stats(returns: pd.Series[float]) -> ReturnStats:
    """Return the figures over daily returns; NaN where there are too few of them, or none that fell."""
    below = drawdowns(returns)
    enough = len(returns) >= _FEWEST_FOR_A_RATIO
    return ReturnStats(
        sessions=len(returns),
        total_return=_known(empyrical.cum_returns_final, returns),
        cagr=_known(empyrical.cagr, returns),
        volatility=_known(empyrical.annual_volatility, returns) if enough else nan,
        sharpe=_ratio(empyrical.sharpe_ratio, returns) if enough else nan,
        sortino=_ratio(empyrical.sortino_ratio, returns) if enough else nan,
        calmar=_ratio(empyrical.calmar_ratio, returns) if enough else nan,
        max_drawdown=float(below.min()) if len(below) else nan,
        current_drawdown=float(below.iloc[-1]) if len(below) else nan,
        longest_drawdown_sessions=_longest_run(below < 0),
        value_at_risk=_known(empyrical.value_at_risk, returns) if enough else nan,
        expected_shortfall=_known(empyrical.conditional_value_at_risk, returns) if enough else nan,
        omega=_ratio(empyrical.omega_ratio, returns) if enough else nan,
        tail_ratio=_ratio(empyrical.tail_ratio, returns) if enough else nan,
        best_day=float(returns.max()) if len(returns) else nan,
        worst_day=float(returns.min()) if len(returns) else nan,
        winning_days=float((returns > 0).mean()) if len(returns) else nan,
    )


def rolling_sharpe(returns: pd.Series[float], sessions: int) -> pd.Series[float]:
    """Return the Sharpe ratio of each run of so many sessions, by its last one; none while there are fewer."""
    windows = returns.rolling(sessions)
    spread = windows.std(ddof=1)
    return (windows.mean() / spread.where(spread > 1e-12) * sqrt(SESSIONS_PER_YEAR)).dropna()


def rolling_beta(returns: pd.Series[float], benchmark: pd.Series[float], sessions: int) -> pd.Series[float]:
    """Return the beta of each run of so many sessions that both have, by its last one; none while there are fewer."""
    own, other = returns.align(benchmark, join="inner")
    spread = other.rolling(sessions).var(ddof=1)
    return (own.rolling(sessions).cov(other, ddof=1) / spread.where(spread > 1e-18)).dropna()


def benchmark_stats(returns: pd.Series[float], benchmark: pd.Series[float]) -> BenchmarkStats:
    """Return how returns stand to a benchmark's, over the sessions that both have; NaN where those are too few."""
    own, other = returns.align(benchmark, join="inner")
    if len(own) < _FEWEST_FOR_A_RATIO:
        return BenchmarkStats(nan, nan, nan, nan, nan, nan)
    alpha, beta = _quietly(empyrical.alpha_beta, own, other)
    ahead, theirs = own - other, _known(empyrical.cum_returns_final, other)
    return BenchmarkStats(
        total_return=theirs,
        excess_return=_known(empyrical.cum_returns_final, own) - theirs,
        alpha=float(alpha),
        beta=float(beta),
        correlation=_known(np.corrcoef, own, other, pick=(0, 1)),
        information_ratio=_ratio(empyrical.sharpe_ratio, ahead),
    )


def trade_stats(
    *,
    trades: int,
    wins: int,
    losses: int,
    gains_usd: float,
    losses_usd: float,
    pnl_squared: float,
    holding_s: float,
    volume_usd: float,
) -> TradeStats:
    """Return the figures over closed trades from their sums; `losses_usd` is 0 or more. NaN where nothing says."""
    result = gains_usd - losses_usd
    mean = _over(result, trades)
    gain, loss = _over(gains_usd, wins), _over(losses_usd, losses)
    variance = (pnl_squared - trades * mean * mean) / (trades - 1) if trades > 1 else nan
    return TradeStats(
        trades=trades,
        result_usd=result,
        win_rate=_over(wins, trades),
        profit_factor=_over(gains_usd, losses_usd) if losses_usd else (inf if gains_usd else nan),
        expectancy_usd=mean,
        expectancy_ratio=_over(mean, loss),
        average_gain_usd=gain,
        average_loss_usd=-loss,
        payoff_ratio=_over(gain, loss),
        sqn=sqrt(trades) * mean / sqrt(variance) if variance > 0 else nan,
        holding_s=_over(holding_s, trades),
        volume_usd=volume_usd,
    )


def monthly_returns(returns: pd.Series[float]) -> pd.DataFrame:
    """Return what each month brought: one row per year, columns 1 to 12, fractions; NaN where nothing was traded."""
    found = [
        {"year": month.year, "month": month.month, "return": float(np.prod(1 + own.to_numpy())) - 1}
        for month, own in returns.groupby(pd.DatetimeIndex(returns.index).to_period("M"))
    ]
    table = pd.DataFrame(found, columns=["year", "month", "return"]).pivot_table(
        index="year", columns="month", values="return", dropna=False
    )
    return table.reindex(columns=range(1, 13))


def buy_and_hold(closes: pd.DataFrame) -> pd.Series[float]:
    """Return the daily returns of holding every symbol in equal parts, set right each day.

    Parameters
    ----------
    closes : index of dates ascending, one column per symbol, prices in USD; NaN where there is no bar
    """
    changes = closes.ffill().pct_change(fill_method=None)
    return changes.mean(axis=1, skipna=True).iloc[1:].fillna(0.0)


def excursion(
    *, is_long: bool, entry_price: float, highs: Sequence[float], lows: Sequence[float], exit_price: float | None = None
) -> Excursion:
    """Return how far the price went for and against a trade, by the bars within which it was open.

    Bars are coarser than fills: the first and the last one may hold prices from before the entry or after the exit.
    """
    prices = [price for price in (*highs, *lows, entry_price, exit_price) if price is not None]
    up, down = max(prices) / entry_price - 1, min(prices) / entry_price - 1
    return Excursion(up, down) if is_long else Excursion(-down, -up)


def _over(amount: float, number: float) -> float:
    return amount / number if number else nan


def _ratio(figure: Callable[..., object], returns: pd.Series[float]) -> float:
    """Return a ratio, NaN when returns do not differ: it would be noise over a spread of nothing."""
    return nan if np.ptp(returns.to_numpy()) < 1e-12 else _known(figure, returns)


def _known(figure: Callable[..., object], *series: pd.Series[float], pick: tuple[int, int] | None = None) -> float:
    if not len(series[0]):
        return nan
    found = np.asarray(_quietly(figure, *series), dtype="float64")
    value = float(found[pick] if pick else found)
    return value if np.isfinite(value) else nan


def _quietly(figure: Callable[..., object], *series: pd.Series[float]) -> tuple[float, ...]:
    with _divisions_allowed():
        return figure(*series)  # type: ignore[return-value]


@contextmanager
def _divisions_allowed() -> Iterator[None]:
    """A division by nothing is answered with NaN, which is shown as such; it is no reason to warn."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _longest_run(flags: pd.Series[bool]) -> int:
    runs = flags.astype("int64").groupby((~flags).cumsum()).sum()
    return int(runs.max()) if len(runs) else 0
