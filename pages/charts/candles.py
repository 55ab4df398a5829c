"""The bars around one trade, with its entry, exit, stop and target."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import GAIN, LOSS, STOP, TARGET, plain_layout

TICKS_MAX = 9


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
    """Return candles with a trade drawn into them, one beside the other: times without bars take no room.

    Bars stand by their number and not by their time: what Plotly cuts out of a time axis (nights, weekends, holidays)
    overlaps, and it then draws later bars over earlier ones.

    Parameters
    ----------
    bars : as `db.queries.bars.price_bars`, at least one row
    """
    figure = go.Figure()
    times = _exchange_time(bars["bar_at"]).reset_index(drop=True)
    opened, closed = _bar_of(bars["bar_at"], trade.opened_at), _bar_of(bars["bar_at"], trade.closed_at)
    figure.add_candlestick(
        x=list(range(len(bars))), open=bars["open"], high=bars["high"], low=bars["low"], close=bars["close"],
        increasing={"line": {"color": GAIN, "width": 1}}, decreasing={"line": {"color": LOSS, "width": 1}},
        name="Price", showlegend=False, hoverinfo="text", hovertext=_in_words(bars, times),
    )  # fmt: skip
    _level(figure, trade.stop_price, "Stop", STOP, opened, closed)
    _level(figure, trade.target_price, "Target", TARGET, opened, closed)
    is_long = trade.side == "long"
    _mark(figure, opened, trade.entry_price, "Entry", "triangle-up" if is_long else "triangle-down", "#3B82F6")
    if trade.closed_at is not None and trade.exit_price is not None:
        _mark(figure, closed, trade.exit_price, "Exit", "x", "#F59E0B")
    figure.update_yaxes(title_text="Price (USD)", tickprefix="$", tickformat=",.2f")
    figure.update_xaxes(rangeslider_visible=False, title_text="Market time (New York)", **_ticks(times))
    return plain_layout(figure, height=420).update_layout(hovermode="closest")


def _level(figure: go.Figure, price: float | None, name: str, color: str, start: int, end: int) -> None:
    if price is None:
        return
    figure.add_scatter(
        x=[start, end], y=[price, price], mode="lines", name=f"{name} ${price:,.2f}",
        line={"color": color, "width": 1.5, "dash": "dash"}, hoverinfo="skip",
    )  # fmt: skip


def _mark(figure: go.Figure, at: int, price: float, name: str, symbol: str, color: str) -> None:
    figure.add_scatter(
        x=[at], y=[price], mode="markers", name=f"{name} ${price:,.2f}",
        marker={"symbol": symbol, "size": 13, "color": color, "line": {"color": "white", "width": 1.5}},
        hovertemplate=f"{name} $%{{y:,.2f}}<extra></extra>",
    )  # fmt: skip


def _exchange_time(bar_at: pd.Series) -> pd.Series:
    """Return times as the exchange's clock shows them: Plotly draws wall times, it knows no zones."""
    return bar_at.dt.tz_convert("America/New_York").dt.tz_localize(None)


def _bar_of(bar_at: pd.Series, at: datetime | None) -> int:
    """Return the number of the bar within which something happened; the last one's for "not yet"."""
    begun = int((bar_at <= at).sum()) if at is not None else len(bar_at)
    return max(begun - 1, 0)


def _ticks(times: pd.Series) -> dict[str, list[object]]:
    """Return where days begin and what they are called, not more than there is room for."""
    days = times.dt.normalize()
    first_bars = days.index[~days.duplicated()]
    shown = first_bars[:: -(-len(first_bars) // TICKS_MAX)]
    return {
        "tickvals": [int(n) for n in shown],
        "ticktext": [f"{days[n]:%d %b}" + (f"<br>{days[n]:%Y}" if n == shown[0] else "") for n in shown],
    }


def _in_words(bars: pd.DataFrame, times: pd.Series) -> list[str]:
    """Return what each bar says when it is pointed at; daily bars without a time of day."""
    pattern = "%d %b %Y, %H:%M" if times.dt.hour.nunique() > 1 else "%d %b %Y"
    return [
        f"{at:{pattern}}<br>open ${bar.open:,.2f}, high ${bar.high:,.2f}<br>"
        f"low ${bar.low:,.2f}, close ${bar.close:,.2f}"
        for at, bar in zip(times, bars.itertuples(), strict=True)
    ]
