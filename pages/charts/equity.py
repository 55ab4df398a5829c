"""Equity over sessions, with drawdown beneath, and one line per profile."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.charts.style import EQUITY, LOSS, PAUSE, SERIES, plain_layout


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


def equity_figure(curve: pd.DataFrame, pauses: pd.DataFrame) -> go.Figure:
    """Return equity with drawdown beneath; spans in which trading was paused are shaded.

    Parameters
    ----------
    curve : as `db.queries.equity.equity_curve`, at least one row
    pauses : columns `start`, `end` (dates on the curve's axis), `reason`; may be empty
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.06)
    dates = curve["session_date"]
    figure.add_scatter(
        x=dates, y=curve["equity_usd"], name="Equity", line={"color": EQUITY, "width": 2},
        hovertemplate="$%{y:,.2f}", row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=dates, y=drawdown(curve["equity_usd"]) * 100, name="Drawdown", fill="tozeroy",
        line={"color": LOSS, "width": 1}, hovertemplate="%{y:.2f} %", row=2, col=1,
    )  # fmt: skip
    for pause in pauses.itertuples():
        figure.add_vrect(x0=pause.start, x1=pause.end, fillcolor=PAUSE, line_width=0, layer="below")
    figure.update_yaxes(title_text="Equity (USD)", tickprefix="$", tickformat=",.0f", row=1, col=1)
    figure.update_yaxes(title_text="Drawdown", ticksuffix=" %", tickformat=".1f", nticks=4, row=2, col=1)
    return plain_layout(figure, height=430).update_layout(showlegend=False)


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
