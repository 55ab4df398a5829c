"""Sharpe ratio and beta over the last months, session by session."""

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import EQUITY, QUIET, SERIES, whole_figure


def rolling_figure(sharpe: pd.Series, beta: pd.Series) -> go.Figure:
    """Return both as lines, with nothing (0) marked. `sharpe`, `beta`: by session date; `beta` may be empty."""
    lines = [
        {"type": "scatter", "x": values.index.to_numpy(), "y": values.to_numpy(), "name": name, "line": look,
         "hovertemplate": "%{y:.2f}"}
        for name, values, look in (("Sharpe", sharpe, {"color": EQUITY, "width": 2}),
                                   ("Beta", beta, {"color": SERIES[1], "width": 2, "dash": "dot"}))
        if len(values)
    ]  # fmt: skip
    at_zero = {"xref": "x domain", "x0": 0, "x1": 1, "y0": 0, "y1": 0}
    zero = {"type": "line", "line": {"color": QUIET, "width": 1}, **at_zero}
    layout = {"shapes": [zero], "yaxis": {"title": {"text": "Ratio"}, "tickformat": ".1f"}}
    return whole_figure(lines, layout, height=260)


def rolling_in_words(sharpe: pd.Series, beta: pd.Series, sessions: int) -> str:
    """Return what the figure shows, for those who cannot see it."""
    last = (
        f"now {sharpe.iloc[-1]:.2f}, between {sharpe.min():.2f} and {sharpe.max():.2f}" if len(sharpe) else "not known"
    )
    follows = f"; beta now {beta.iloc[-1]:.2f}" if len(beta) else ""
    return f"Sharpe ratio over {sessions} sessions: {last}{follows}."
