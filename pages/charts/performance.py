"""Performance as figures: growth beside a benchmark, months, how returns are spread, and what each part brought."""

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import EQUITY, GAIN, LOSS, QUIET, whole_figure


def growth(returns: pd.Series) -> pd.Series:
    """Return the growth in percent since before the first return, one value for each."""
    return ((1 + returns).cumprod() - 1) * 100


def growth_figure(returns: pd.Series, drawdown: pd.Series, benchmark: pd.Series, benchmark_name: str) -> go.Figure:
    """Return growth in percent beside a benchmark's, with drawdown beneath.

    Parameters
    ----------
    returns, drawdown : fractions by session date, of one length; at least one
    benchmark : daily returns over the same time; may be empty
    """
    lines = [
        {"type": "scatter", "x": returns.index.to_numpy(), "y": growth(returns).to_numpy(),
         "name": "These profiles", "line": {"color": EQUITY, "width": 2}, "hovertemplate": "%{y:+.2f} %"},
        {"type": "scatter", "x": benchmark.index.to_numpy(), "y": growth(benchmark).to_numpy(), "name": benchmark_name,
         "line": {"color": QUIET, "width": 1.5, "dash": "dash"}, "hovertemplate": "%{y:+.2f} %"},
        {"type": "scatter", "x": drawdown.index.to_numpy(), "y": drawdown.to_numpy() * 100, "name": "Drawdown",
         "fill": "tozeroy", "yaxis": "y2", "line": {"color": LOSS, "width": 1}, "hovertemplate": "%{y:.2f} %",
         "showlegend": False},
    ]  # fmt: skip
    layout = {
        "xaxis": {"anchor": "y2"},
        "yaxis": {"domain": [0.32, 1.0], "title": {"text": "Growth"}, "ticksuffix": " %"},
        "yaxis2": {"domain": [0.0, 0.26], "title": {"text": "Drawdown"}, "ticksuffix": " %", "tickformat": ".1f",
                   "nticks": 4},
    }  # fmt: skip
    drawn = [line for line in lines if len(line["x"])]
    return whole_figure(drawn, layout, height=400)


def growth_in_words(returns: pd.Series, benchmark: pd.Series, benchmark_name: str) -> str:
    """Return what the growth figure shows, for those who cannot see it."""
    own = f"Growth over {len(returns)} sessions: {growth(returns).iloc[-1]:+.2f} percent"
    other = f", {benchmark_name}: {growth(benchmark).iloc[-1]:+.2f} percent" if len(benchmark) else ""
    return f"{own}{other}."


def spread_figure(bins: list[int], start: float, step: float) -> go.Figure:
    """Return how many trades returned what: one bar a step, what lies below and above in one bar each.

    Parameters
    ----------
    bins : how many returned less than `start`, how many in each step (fractions) from there, how many more
    """
    first, last = _populated(bins)
    middles = [(start + (n - 0.5) * step) * 100 for n in range(len(bins))]
    labels = [_bin_words(n, len(bins), start, step) for n in range(len(bins))]
    shown = slice(first, last + 1)
    bars = {
        "type": "bar", "x": middles[shown], "y": bins[shown], "customdata": labels[shown], "width": step * 92,
        "marker": {"color": [LOSS if middle < 0 else GAIN for middle in middles[shown]]},
        "hovertemplate": "%{customdata}: %{y} trades<extra></extra>",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "Return of a trade (% of its entry)"}, "ticksuffix": " %", "zeroline": True},
        "yaxis": {"title": {"text": "Trades"}},
    }
    return whole_figure([bars], layout, height=300, hovermode="closest")


def spread_in_words(bins: list[int], start: float, step: float) -> str:
    """Return what the spread shows, for those who cannot see it."""
    most = max(range(len(bins)), key=bins.__getitem__)
    return f"{sum(bins)} trades by return; most, {bins[most]}, returned {_bin_words(most, len(bins), start, step)}."


def parts_figure(parts: pd.DataFrame) -> go.Figure:
    """Return what each part brought, the best at the top.

    Parameters
    ----------
    parts : columns `name`, `result_usd`; at least one row
    """
    ordered = parts.sort_values("result_usd")
    results = ordered["result_usd"].tolist()
    bars = {
        "type": "bar", "orientation": "h",
        "x": ordered["result_usd"].to_numpy(), "y": [name[:26] for name in ordered["name"]],
        "marker": {"color": [LOSS if result < 0 else GAIN for result in results]},
        "text": [f"{'-' if result < 0 else '+'}${abs(result):,.0f}" for result in results],
        "textposition": "auto", "cliponaxis": False, "hovertemplate": "%{y}: %{text}<extra></extra>",
    }  # fmt: skip
    low, high = min(results[0], 0.0), max(results[-1], 0.0)
    room = (high - low) * 0.2  # for what is written beside short bars
    layout = {
        "xaxis": {"title": {"text": "Result (USD)"}, "tickformat": "$,.0f", "zeroline": True,
                  "range": [low - room * (low < 0), high + room]},
        "yaxis": {"type": "category"},
    }  # fmt: skip
    return whole_figure([bars], layout, height=max(180, 80 + 30 * len(ordered)), hovermode="closest")


def parts_in_words(parts: pd.DataFrame) -> str:
    """Return what the parts' figure shows, for those who cannot see it."""
    ordered = parts.sort_values("result_usd", ascending=False)
    told = (
        f"{name}: {result:+,.0f} dollars" for name, result in zip(ordered["name"], ordered["result_usd"], strict=True)
    )
    return f"Result by part. {', '.join(told)}"


def _populated(bins: list[int]) -> tuple[int, int]:
    held = [n for n, count in enumerate(bins) if count]
    return (held[0], held[-1]) if held else (0, len(bins) - 1)


def _bin_words(n: int, of: int, start: float, step: float) -> str:
    if n == 0:
        return f"below {start * 100:+.1f} %"
    if n == of - 1:
        return f"{(start + (of - 2) * step) * 100:+.1f} % and more"
    return f"{(start + (n - 1) * step) * 100:+.1f} to {(start + n * step) * 100:+.1f} %"
