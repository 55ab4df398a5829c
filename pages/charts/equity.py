"""Equity over sessions, with drawdown beneath, and one line per profile."""

from datetime import datetime
from html import escape

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.charts.style import EQUITY, LOCKOUT, LOSS, PAUSE, SERIES, plain_layout


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
    heights = [0.64, 0.10, 0.26] if locked else [0.72, 0.28]
    lowest = len(heights)
    figure = make_subplots(rows=lowest, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.05)
    dates = curve["session_date"]
    figure.add_scatter(
        x=dates, y=curve["equity_usd"], name="Equity", line={"color": EQUITY, "width": 2},
        hovertemplate="$%{y:,.2f}", row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=dates, y=drawdown(curve["equity_usd"]) * 100, name="Drawdown", fill="tozeroy",
        line={"color": LOSS, "width": 1}, hovertemplate="%{y:.2f} %", row=lowest, col=1,
    )  # fmt: skip
    for pause in pauses.itertuples():
        figure.add_vrect(x0=pause.start, x1=pause.end, fillcolor=PAUSE, line_width=0, layer="below")
        figure.add_annotation(
            x=pause.start, y=1, yref="paper", text="‖ paused", showarrow=False, xanchor="left", yanchor="bottom",
            hovertext=escape(str(pause.reason)), font={"size": 11},
        )  # fmt: skip
    if locked:
        _lockouts(figure, lockouts)
    figure.update_yaxes(title_text="Equity (USD)", tickformat="$,.0f", row=1, col=1)
    figure.update_yaxes(title_text="Drawdown", ticksuffix=" %", tickformat=".1f", nticks=4, row=lowest, col=1)
    return plain_layout(figure, height=430).update_layout(showlegend=False)


def _lockouts(figure: go.Figure, lockouts: pd.DataFrame) -> None:
    """Draw each lockout as a line in a lane of its own, overlapping ones above each other."""
    ends: list[datetime] = []
    for lockout in lockouts.sort_values("start").itertuples():
        lane = next((n for n, end in enumerate(ends) if end < lockout.start), len(ends))
        ends[lane : lane + 1] = [lockout.end]
        figure.add_scatter(
            x=[lockout.start, lockout.end], y=[lane, lane], mode="lines+markers", name="Locked out",
            line={"color": LOCKOUT, "width": 4}, marker={"symbol": "line-ns-open", "size": 8, "color": LOCKOUT},
            hovertemplate=f"{escape(str(lockout.reason))}<extra></extra>", row=2, col=1,
        )  # fmt: skip
    figure.update_yaxes(
        title_text="Locked", showticklabels=False, range=[-0.7, max(len(ends), 1) - 0.3], showgrid=False, row=2, col=1
    )


def profiles_figure(by_profile: pd.DataFrame) -> go.Figure:
    """Return each profile's equity relative to its first session, one line each.

    Parameters
    ----------
    by_profile : as `db.queries.equity.equity_by_profile`, at least one row
    """
    figure = go.Figure()
    for color, (name, own) in zip(SERIES * 10, by_profile.groupby("profile_name"), strict=False):
        change = (own["equity_usd"] / own["equity_usd"].iloc[0] - 1) * 100
        figure.add_scatter(
            x=own["session_date"], y=change, name=str(name), line={"color": color, "width": 2},
            hovertemplate="%{y:+.2f} %",
        )  # fmt: skip
    figure.update_yaxes(title_text="Change since start", ticksuffix=" %")
    return plain_layout(figure, height=320)


def equity_in_words(curve: pd.DataFrame) -> str:
    """Return what the equity figure shows, for those who cannot see it."""
    first, last = curve.iloc[0], curve.iloc[-1]
    lowest = drawdown(curve["equity_usd"]).min() * 100
    return (
        f"Equity over {len(curve)} sessions from {first.session_date:%d %b %Y} to {last.session_date:%d %b %Y}: "
        f"from ${first.equity_usd:,.0f} to ${last.equity_usd:,.0f}, deepest drawdown {lowest:.1f} percent."
    )
