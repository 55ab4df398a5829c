"""The bars around one trade, with its entry, exit, stop and target."""

from dataclasses import dataclass
from datetime import datetime

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
    figure.add_candlestick(
        x=bars["bar_at"], open=bars["open"], high=bars["high"], low=bars["low"], close=bars["close"],
        increasing={"line": {"color": GAIN, "width": 1}}, decreasing={"line": {"color": LOSS, "width": 1}},
        name="Price", showlegend=False,
    )  # fmt: skip
    end = trade.closed_at or bars["bar_at"].iloc[-1]
    _level(figure, trade.stop_price, "Stop", STOP, trade.opened_at, end)
    _level(figure, trade.target_price, "Target", TARGET, trade.opened_at, end)
    is_long = trade.side == "long"
    _mark(figure, trade.opened_at, trade.entry_price, "Entry", "triangle-up" if is_long else "triangle-down", "#3B82F6")
    if trade.closed_at is not None and trade.exit_price is not None:
        _mark(figure, trade.closed_at, trade.exit_price, "Exit", "x", "#F59E0B")
    figure.update_yaxes(title_text="Price (USD)", tickprefix="$", tickformat=",.2f")
    figure.update_xaxes(rangeslider_visible=False, rangebreaks=_gaps(bars["bar_at"]))
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


def _gaps(bar_at: pd.Series) -> list[dict[str, object]]:
    """Return the times without trading, so that they take no room: weekends, and nights for hourly bars."""
    is_intraday = bool((bar_at.diff().dropna() < pd.Timedelta(hours=12)).any())
    night = [{"bounds": [16, 9.5], "pattern": "hour"}] if is_intraday else []
    return [{"bounds": ["sat", "mon"]}, *night]
