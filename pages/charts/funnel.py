"""How many entries got how far, as a figure."""

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import EQUITY, plain_layout


def funnel_figure(steps: pd.DataFrame) -> go.Figure:
    """Return how many got to each step, the first at the top.

    Parameters
    ----------
    steps : columns `name`, `count`; at least one row
    """
    figure = go.Figure(
        go.Funnel(
            y=steps["name"], x=steps["count"], marker={"color": EQUITY}, texttemplate="%{value:,}",
            textposition="auto", hovertemplate="%{y}: %{value:,} (%{percentInitial} of all)<extra></extra>",
        )
    )  # fmt: skip
    return plain_layout(figure, height=90 + 44 * len(steps)).update_layout(hovermode="closest")


def funnel_in_words(steps: pd.DataFrame) -> str:
    """Return what the funnel shows, for those who cannot see it."""
    told = (f"{name}: {count:,}" for name, count in zip(steps["name"], steps["count"], strict=True))
    return f"How far the entries got. {', '.join(told)}."
