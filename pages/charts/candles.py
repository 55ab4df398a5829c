"""The bars around one trade, with its entry, exit, stop and target."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import GAIN, LOSS, STOP, TARGET, plain_layout


@dataclass(frozen=True)
class TradeMarks:
    """Where one trade went in and out. Prices in USD; None where there is none (yet)."""

    side: str
    opened_at: datetime
    entry_price: float
    closed_at: datetime | None
    exit_price: float | None
    stop_price: float | None
    target_price: float | None


def candles_figure(bars: pd.DataFrame, trade: TradeMarks) -> go.Figure:
    """Return candles with a trade drawn into them.

    Parameters
    ----------
    bars : as `db.queries.bars.price_bars`, at least one row
    """
    figure = go.Figure()
    times = _exchange_time(bars["bar_at"])
    opened, closed = _bar_of(bars["bar_at"], times, trade.opened_at), _bar_of(bars["bar_at"], times, trade.closed_at)
    figure.add_candlestick(
        x=times, open=bars["open"], high=bars["high"], low=bars["low"], close=bars["close"],
        increasing={"line": {"color": GAIN, "width": 1}}, decreasing={"line": {"color": LOSS, "width": 1}},
        name="Price", showlegend=False,
    )  # fmt: skip
    _level(figure, trade.stop_price, "Stop", STOP, opened, closed)
    _level(figure, trade.target_price, "Target", TARGET, opened, closed)
    is_long = trade.side == "long"
    _mark(figure, opened, trade.entry_price, "Entry", "triangle-up" if is_long else "triangle-down", "#3B82F6")
    if trade.closed_at is not None and trade.exit_price is not None:
        _mark(figure, closed, trade.exit_price, "Exit", "x", "#F59E0B")
    figure.update_yaxes(title_text="Price (USD)", tickprefix="$", tickformat=",.2f")
    figure.update_xaxes(rangeslider_visible=False, rangebreaks=_gaps(times), title_text="Market time (New York)")
    return plain_layout(figure, height=420).update_layout(hovermode="closest")


def _level(figure: go.Figure, price: float | None, name: str, color: str, start: datetime, end: datetime) -> None:
    if price is None:
        return
    figure.add_scatter(
        x=[start, end], y=[price, price], mode="lines", name=f"{name} ${price:,.2f}",
        line={"color": color, "width": 1.5, "dash": "dash"}, hoverinfo="skip",
    )  # fmt: skip


def _mark(figure: go.Figure, at: datetime, price: float, name: str, symbol: str, color: str) -> None:
    figure.add_scatter(
        x=[at], y=[price], mode="markers", name=f"{name} ${price:,.2f}",
        marker={"symbol": symbol, "size": 13, "color": color, "line": {"color": "white", "width": 1.5}},
        hovertemplate=f"{name} $%{{y:,.2f}}<extra></extra>",
    )  # fmt: skip


def _exchange_time(bar_at: pd.Series) -> pd.Series:
    """Return times as the exchange's clock shows them: Plotly draws wall times, it knows no zones."""
    return bar_at.dt.tz_convert("America/New_York").dt.tz_localize(None)


def _bar_of(bar_at: pd.Series, times: pd.Series, at: datetime | None) -> datetime:
    """Return where on the axis the bar lies within which something happened; the last bar for "not yet"."""
    begun = times[bar_at <= at] if at is not None else times
    return (begun if len(begun) else times.head(1)).iloc[-1]


def _gaps(times: pd.Series) -> list[dict[str, object]]:
    """Return the times without trading, so that they take no room: weekends, holidays, nights for hourly bars.

    No two of them overlap: what Plotly cuts out twice moves all later bars to the left, over the earlier ones.
    """
    days = times.dt.normalize()
    holidays = pd.bdate_range(days.min(), days.max()).difference(pd.DatetimeIndex(days.unique()))
    begin, end = _session(times)
    closed = {"values": [(day + begin).isoformat() for day in holidays], "dvalue": (end - begin).total_seconds() * 1000}
    night = [{"bounds": [_hours(end), _hours(begin)], "pattern": "hour"}] if end - begin < timedelta(days=1) else []
    return [{"bounds": ["sat", "mon"]}, closed, *night]


def _session(times: pd.Series) -> tuple[timedelta, timedelta]:
    """Return when a day's bars begin and end, since midnight: whole hours; the whole day for daily bars."""
    hours = times.dt.hour
    if hours.nunique() < 2:
        return timedelta(), timedelta(days=1)
    return timedelta(hours=int(hours.min())), timedelta(hours=int(hours.max()) + 1)


def _hours(span: timedelta) -> int:
    return span // timedelta(hours=1)
