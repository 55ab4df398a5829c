"""What else could have been, as figures: the difference over time, and what each control cost or saved."""

import pandas as pd
import plotly.graph_objects as go

from pages.charts.style import EQUITY, GAIN, LOSS, QUIET, plain_layout


def difference_figure(effects: pd.DataFrame) -> go.Figure:
    """Return what the changed entries add up to, in the order in which they were asked.

    Parameters
    ----------
    effects : columns `market_at`, `effect_usd`, `symbol`; at least one row
    """
    ordered = effects.sort_values("market_at")
    figure = go.Figure(
        go.Scatter(
            x=ordered["market_at"], y=ordered["effect_usd"].fillna(0).cumsum(), customdata=ordered["symbol"],
            mode="lines+markers", line={"color": EQUITY, "width": 2, "shape": "hv"},
            hovertemplate="%{customdata}: %{y:+,.2f} dollars in all<extra></extra>",
        )
    )  # fmt: skip
    figure.add_hline(y=0, line={"width": 1, "dash": "dot", "color": QUIET})
    figure.update_yaxes(title_text="Counterfactual difference (USD)", tickformat="$,.0f")
    figure.update_xaxes(title_text="Asked (market time)")
    return plain_layout(figure, height=300).update_layout(hovermode="closest")


def difference_in_words(effects: pd.DataFrame) -> str:
    """Return what the difference shows, for those who cannot see it."""
    total = effects["effect_usd"].fillna(0).sum()
    return f"A counterfactual: {len(effects)} entries answered otherwise add up to {total:+,.2f} dollars."


def costs_figure(costs: pd.DataFrame) -> go.Figure:
    """Return what each control saved (to the right) or cost (to the left), the largest at the top.

    Parameters
    ----------
    costs : columns `name`, `effect_usd`; at least one row
    """
    shown = costs.head(15).iloc[::-1]
    labels = [f"{n}. {name[:38]}" for n, name in zip(range(len(shown), 0, -1), shown["name"], strict=True)]
    figure = go.Figure(
        go.Bar(
            x=shown["effect_usd"], y=labels, orientation="h",
            marker={"color": [LOSS if effect < 0 else GAIN for effect in shown["effect_usd"]]},
            text=[f"{'cost' if effect < 0 else 'saved'} ${abs(effect):,.0f}" for effect in shown["effect_usd"]],
            textposition="auto", hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="Saved (+) or cost (-), counterfactual (USD)", tickformat="$,.0f",
                        zeroline=True)  # fmt: skip
    return plain_layout(figure, height=max(180, 90 + 30 * len(shown))).update_layout(hovermode="closest")


def costs_in_words(costs: pd.DataFrame) -> str:
    """Return what the costs' figure shows, for those who cannot see it."""
    told = (
        f"{name} {'cost' if effect < 0 else 'saved'} {abs(effect):,.0f} dollars"
        for name, effect in zip(costs["name"].head(15), costs["effect_usd"].head(15), strict=True)
    )
    return f"A counterfactual. {', '.join(told)}."
