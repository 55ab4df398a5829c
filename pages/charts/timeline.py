"""When what was paused or halted, scope by scope."""

from datetime import datetime
from html import escape

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import plain_layout

_LOOKS = {"PAUSED": ("#F59E0B", ""), "HALTED": ("#E0533D", "/")}  # told apart by a pattern as well as by colour
_ROW_HEIGHT, _FRAME_HEIGHT = 34, 90


def stopped_spans(history: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Return the spans in which a scope did not run; one that goes on ends now.

    Parameters
    ----------
    history : as `db.queries.controls.control_history`, with the scope's name in `scope`

    Returns
    -------
    DataFrame by start; columns `scope`, `mode`, `reason` text, `start`, `end` times of the database, `goes_on` bool
    """
    stopped = history[history["to_mode"] != "RUNNING"]
    found = pd.DataFrame(
        {
            "scope": stopped["scope"],
            "mode": stopped["to_mode"],
            "reason": stopped["reason"].fillna(""),
            "start": stopped["changed_at"],
            "end": stopped["ended_at"].fillna(now),
            "goes_on": stopped["ended_at"].isna(),
        }
    )
    return found.sort_values("start", ignore_index=True)


def timeline_figure(spans: pd.DataFrame, zone: str) -> go.Figure:
    """Return a bar for each span, a row for each scope. `spans`: as `stopped_spans`, at least one; shown in `zone`."""
    figure = go.Figure()
    for mode, (colour, pattern) in _LOOKS.items():
        own = spans[spans["mode"] == mode]
        if own.empty:
            continue
        start, end = (own[name].dt.tz_convert(zone).dt.tz_localize(None) for name in ("start", "end"))
        figure.add_bar(
            y=own["scope"], base=start, x=(end - start).dt.total_seconds() * 1000, orientation="h",
            name=mode.capitalize(),
            marker={"color": colour, "pattern": {"shape": pattern}, "line": {"color": colour, "width": 2}},
            customdata=[[escape(reason), f"{at:%d %b %H:%M:%S}", "goes on" if on else f"{to:%d %b %H:%M:%S}"]
                        for reason, at, to, on in zip(own["reason"], start, end, own["goes_on"], strict=True)],
            hovertemplate="%{customdata[1]} to %{customdata[2]}<br>%{customdata[0]}",
        )  # fmt: skip
    figure.update_xaxes(type="date")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(barmode="overlay", bargap=0.35, showlegend=True)
    rows = spans["scope"].nunique()
    return plain_layout(figure, height=_FRAME_HEIGHT + _ROW_HEIGHT * rows).update_layout(hovermode="closest")


def timeline_in_words(spans: pd.DataFrame) -> str:
    """Return what the timeline shows, for those who cannot see it."""
    times = "once" if len(spans) == 1 else f"{len(spans)} times"
    on = ", ".join(sorted(set(spans.loc[spans["goes_on"], "scope"])))
    return f"Trading was stopped {times}, in {spans['scope'].nunique()} scopes. Stopped now: {on or 'nothing'}."
