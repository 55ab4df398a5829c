"""Colours and layout that all figures share. Each colour reads on the light and on the dark theme."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

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


_LAYOUT: dict[str, Any] = {
    "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "title": None},
    "dragmode": "pan",
}
_X_AXIS = {"showgrid": False, "automargin": True}
_Y_AXIS = {"automargin": True, "zeroline": False}


def whole_figure(
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    height: int,
    hovermode: Literal["x unified", "closest"] = "x unified",
) -> go.Figure:
    """Return a figure with the margins, hover and grid that all share.

    It is made in one go: Plotly checks a figure that grows part by part again and again, which takes six times as long.
    """
    axes = {name: held | _axis(name) for name, held in ({"xaxis": {}, "yaxis": {}} | dict(layout)).items()
            if name.startswith(("xaxis", "yaxis"))}  # fmt: skip
    shared = _LAYOUT | {"height": height, "hovermode": hovermode}
    return go.Figure(data=list(traces), layout=dict(layout) | axes | shared)


def _axis(name: str) -> dict[str, bool]:
    return _X_AXIS if name.startswith("x") else _Y_AXIS


def plain_layout(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure that is there already the margins, hover and grid that all share."""
    layout = _LAYOUT | {"height": height, "hovermode": "x unified"}
    figure.update_layout(layout, overwrite=True)  # comparing with what was there takes four times as long
    figure.update_xaxes(_X_AXIS)
    figure.update_yaxes(_Y_AXIS)
    return figure
