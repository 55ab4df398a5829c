"""Colours and layout that all figures share. Each colour reads on the light and on the dark theme."""

import plotly.graph_objects as go

EQUITY = "#3B82F6"
GAIN = "#0E9F6E"
LOSS = "#E0533D"
STOP = "#E0533D"
TARGET = "#0E9F6E"
PAUSE = "rgba(245, 158, 11, 0.22)"
LOCKOUT = "#9F7AEA"
QUIET = "#8492A6"
# Told apart by people who see red and green alike.
SERIES = ("#3B82F6", "#F59E0B", "#10A37F", "#9F7AEA", "#06A6C7", "#EC5A96", "#8492A6", "#84A417")


def plain_layout(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure the margins, hover and grid that all share."""
    layout = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": None},
        "dragmode": "pan",
    }
    figure.update_layout(layout, overwrite=True)  # comparing with what was there takes four times as long
    figure.update_xaxes(showgrid=False, automargin=True)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure
