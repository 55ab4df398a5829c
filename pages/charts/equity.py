"""Equity over sessions, with drawdown beneath, and one line per profile."""

from datetime import datetime
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import EQUITY, LOCKOUT, LOSS, PAUSE, SERIES, whole_figure

LINES_MAX = len(SERIES)


def drawdown(equity_usd: pd.Series) -> pd.Series:
    """Return how far equity lies below its highest value so far.

    Parameters
    ----------
    equity_usd : Series[float], in order of time, > 0

    Returns
    -------
    Series[float], same index; fraction in [-1, 0] (-0.12: 12 % below the peak)
    """
    return equity_usd / equity_usd.cummax() - 1


def equity_figure(curve: pd.DataFrame, pauses: pd.DataFrame, lockouts: pd.DataFrame | None = None) -> go.Figure:
    """Return equity with drawdown beneath; spans in which trading was paused are shaded, lockouts lie between.

    Parameters
    ----------
    curve : as `db.queries.equity.equity_curve`, at least one row
    pauses, lockouts : columns `start`, `end` (times on the curve's axis), `reason`; may be empty
    """
    locked = lockouts is not None and not lockouts.empty
    (low, lowest_high), (lane_low, lane_high), (high_low, high) = _LANES if locked else _NO_LANES
    dates, equity_usd = curve["session_date"].to_numpy(), curve["equity_usd"].to_numpy()
    lines = [
        {"type": "scatter", "x": dates, "y": equity_usd, "name": "Equity", "yaxis": "y",
         "line": {"color": EQUITY, "width": 2}, "hovertemplate": "$%{y:,.2f}"},
        {"type": "scatter", "x": dates, "y": drawdown(curve["equity_usd"]).to_numpy() * 100, "name": "Drawdown",
         "yaxis": "y3", "fill": "tozeroy", "line": {"color": LOSS, "width": 1}, "hovertemplate": "%{y:.2f} %"},
    ]  # fmt: skip
    lanes = _lanes(lockouts) if locked else []
    layout = {
        "xaxis": {"anchor": "y3"},
        "yaxis": {"domain": [high_low, high], "title": {"text": "Equity (USD)"}, "tickformat": "$,.0f"},
        "yaxis2": {"domain": [lane_low, lane_high], "title": {"text": "Locked"}, "showticklabels": False,
                   "range": [-0.7, max(lanes, default=0) + 0.7], "showgrid": False, "visible": locked},
        "yaxis3": {"domain": [low, lowest_high], "title": {"text": "Drawdown"}, "ticksuffix": " %",
                   "tickformat": ".1f", "nticks": 4},
        "shapes": [_shade(pause) for pause in pauses.itertuples()],
        "annotations": [_paused(pause) for pause in pauses.itertuples()],
        "showlegend": False,
    }  # fmt: skip
    return whole_figure(lines + ([_lockouts(lockouts, lanes)] if locked else []), layout, height=430)


# Shares of the height, from below: drawdown, lockouts, equity.
_LANES = ((0.0, 0.24), (0.29, 0.38), (0.43, 1.0))
_NO_LANES = ((0.0, 0.26), (0.26, 0.26), (0.32, 1.0))


def _shade(pause: Any) -> dict[str, Any]:
    return {"type": "rect", "x0": pause.start, "x1": pause.end, "y0": 0, "y1": 1, "yref": "paper", "fillcolor": PAUSE,
            "line": {"width": 0}, "layer": "below"}  # fmt: skip


def _paused(pause: Any) -> dict[str, Any]:
    return {"x": pause.start, "y": 1, "yref": "paper", "text": "‖ paused", "showarrow": False, "xanchor": "left",
            "yanchor": "bottom", "hovertext": escape(str(pause.reason)), "font": {"size": 11}}  # fmt: skip


def _lanes(lockouts: pd.DataFrame) -> list[int]:
    """Return a lane for each lockout in the order of their starts: overlapping ones lie above each other."""
    ends: list[datetime] = []
    lanes = []
    for lockout in lockouts.sort_values("start").itertuples():
        lane = next((n for n, end in enumerate(ends) if end < lockout.start), len(ends))
        ends[lane : lane + 1] = [lockout.end]
        lanes.append(lane)
    return lanes


def _lockouts(lockouts: pd.DataFrame, lanes: list[int]) -> dict[str, Any]:
    """Return all lockouts as one line with a gap after each."""
    ordered = lockouts.sort_values("start")
    spans = zip(ordered["start"], ordered["end"], ordered["reason"].map(str).map(escape), lanes, strict=True)
    points = [point for start, end, reason, lane in spans
              for point in ((start, lane, reason), (end, lane, reason), (None, None, None))]  # fmt: skip
    return {
        "type": "scatter", "x": [x for x, _, _ in points], "y": [y for _, y, _ in points],
        "customdata": [reason for _, _, reason in points], "mode": "lines+markers", "name": "Locked out", "yaxis": "y2",
        "line": {"color": LOCKOUT, "width": 4}, "marker": {"symbol": "line-ns-open", "size": 8, "color": LOCKOUT},
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip


def profiles_figure(by_profile: pd.DataFrame) -> go.Figure:
    """Return each profile's profit relative to what it started with, one line each.

    Parameters
    ----------
    by_profile : as `db.queries.equity.profit_by_profile`, at least one row; of more profiles than LINES_MAX those
        that have gained or lost the most are drawn
    """
    profit = by_profile["realized_usd"] + by_profile["unrealized_usd"]
    change = by_profile.assign(change=profit / (by_profile["equity_usd"] - profit) * 100)
    last = change.groupby("profile_name")["change"].last()
    drawn = last.abs().nlargest(LINES_MAX).index.sort_values()
    own = {name: rows for name, rows in change.groupby("profile_name") if name in drawn}
    lines = [
        {"type": "scatter", "x": own[name]["session_date"].to_numpy(), "y": own[name]["change"].to_numpy(),
         "name": str(name), "line": {"color": color, "width": 2}, "hovertemplate": "%{y:+.2f} %"}
        for color, name in zip(SERIES, drawn, strict=False)
    ]  # fmt: skip
    layout = {"yaxis": {"title": {"text": "Profit since start"}, "ticksuffix": " %"}}
    return whole_figure(lines, layout, height=320)


def equity_in_words(curve: pd.DataFrame) -> str:
    """Return what the equity figure shows, for those who cannot see it."""
    first, last = curve.iloc[0], curve.iloc[-1]
    lowest = drawdown(curve["equity_usd"]).min() * 100
    return (
        f"Equity over {len(curve)} sessions from {first.session_date:%d %b %Y} to {last.session_date:%d %b %Y}: "
        f"from ${first.equity_usd:,.0f} to ${last.equity_usd:,.0f}, deepest drawdown {lowest:.1f} percent."
    )
