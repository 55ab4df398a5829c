"""Cost of control: what each pause, lockout, denial and approval kept back, and what that saved or cost."""

from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, NumberColumn, TextColumn

from engine.domain.cost_of_control import APPROVAL, DENIAL, LOCKOUT, PAUSE, Cost
from engine.domain.price_path import Path
from pages.charts.counterfactual import costs_figure, costs_in_words
from pages.components.export import csv_button
from pages.components.figures import Figure, figures
from pages.components.formats import NOTHING, count, signed_money, words
from pages.components.messages import show_empty
from pages.components.tables import SIGNED_USD, USD, time_column
from pages.components.why_words import code_words

_KINDS = {PAUSE: "Pauses", LOCKOUT: "Lockouts", DENIAL: "Limits", APPROVAL: "Approvals"}


def show_costs(costs: list[Cost]) -> None:
    """Show what each control cost or saved, in all, by kind and one by one."""
    figures([_figure(kind, [cost for cost in costs if cost.cause.kind == kind]) for kind in _KINDS], columns=4)
    found = costs_frame(costs)
    st.plotly_chart(costs_figure(found), key="costs", alt=costs_in_words(found))
    st.dataframe(
        found,
        hide_index=True,
        placeholder=NOTHING,
        key="costs_table",
        alt="What each control kept back, and what that saved or cost, the largest effect first",
        column_order=["name", "kind", "effect_usd", "entries", "gains_usd", "spared_usd", "repeats", "unknown"],
        column_config={
            "name": TextColumn("What kept entries back", width="large", pinned=True),
            "kind": TextColumn("Kind"),
            "effect_usd": NumberColumn("Saved (+) or cost (-), USD", format=SIGNED_USD,
                                       help="Counterfactual: losses spared less gains missed"),
            "entries": NumberColumn("Entries", format="localized", help="That it kept back"),
            "gains_usd": NumberColumn("Gains missed", format=USD, help="Counterfactual"),
            "spared_usd": NumberColumn("Losses spared", format=USD, help="Counterfactual"),
            "repeats": NumberColumn("Asked again", format="localized",
                                    help="Not counted: with the first one made, the strategy would not have asked"),
            "unknown": NumberColumn("Not known", format="localized", help="No bars follow them"),
        },
    )  # fmt: skip
    csv_button("cost-of-control", lambda: found)


def costs_frame(costs: list[Cost]) -> pd.DataFrame:
    """Return costs as a table, in the order given; amounts in USD."""
    return pd.DataFrame(
        {
            "name": [_name(cost) for cost in costs],
            "kind": [_KINDS[cost.cause.kind] for cost in costs],
            "effect_usd": [float(cost.effect_usd) for cost in costs],
            "entries": [len(cost.entries) for cost in costs],
            "gains_usd": [float(cost.gains_usd) for cost in costs],
            "spared_usd": [-float(cost.losses_usd) for cost in costs],
            "repeats": [len(cost.repeated) for cost in costs],
            "unknown": [cost.unknown for cost in costs],
        }
    )


def entries_behind(costs: list[Cost], paths: dict[str, Path], names: dict[str, str], zone: ZoneInfo) -> None:
    """Show the entries behind one of the controls, each with a link to its checks."""
    labels = {f"{n}. {_name(cost)}": cost for n, cost in enumerate(costs, start=1)}
    chosen = st.selectbox("Kept back by", list(labels), key="cost_of", help="In the order of the table above.")
    entries, repeated = labels[chosen].entries, labels[chosen].repeated
    followed = [paths.get(entry.id) for entry in entries]
    frame = pd.DataFrame(
        {
            "link": [f"/decisions?order={entry.id}" for entry in entries],
            "market_at": pd.to_datetime([entry.market_at for entry in entries], utc=True),
            "symbol": [entry.symbol for entry in entries],
            "side": ["long" if entry.plan.is_long else "short" for entry in entries],
            "profile": [names.get(entry.profile_id, NOTHING) for entry in entries],
            "counted": ["asked again: no" if entry.id in repeated else "yes" for entry in entries],
            "ended": [words(path.ended) if path else NOTHING for path in followed],
            "result": [float(path.result_usd) if path and path.result_usd is not None else None for path in followed],
        }
    )
    st.dataframe(
        frame.astype({"result": "float64"}),
        hide_index=True,
        placeholder=NOTHING,
        key="cost_entries",
        alt="Entries that this control kept back, each with what it would have brought",
        column_config={
            "link": LinkColumn("Checks", display_text="Open", width="small"),
            "market_at": time_column("Asked (market time)", zone),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "profile": TextColumn("Profile"),
            "counted": TextColumn("Counted", help="Not where the same entry would have been open already"),
            "ended": TextColumn("Would have ended by"),
            "result": NumberColumn("Would have brought (USD)", format=SIGNED_USD, help="Counterfactual"),
        },
    )


def show_no_costs() -> None:
    """Say that nothing was kept back."""
    show_empty("No control kept an entry back in this period: nothing was saved and nothing missed.")


def _figure(kind: str, costs: list[Cost]) -> Figure:
    effect = float(sum(cost.effect_usd for cost in costs))
    kept = sum(len(cost.entries) for cost in costs)
    return Figure(
        f"{_KINDS[kind]} (counterfactual)",
        signed_money(effect),
        "Above 0 they saved that much: the losses that were spared less the gains that were missed.",
        f"{count(kept, 'entry')} kept back",
    )


def _name(cost: Cost) -> str:
    if cost.cause.kind in (DENIAL, APPROVAL):
        return code_words(cost.cause.key)
    return f"{'Pause' if cost.cause.kind == PAUSE else 'Lockout'}: {cost.cause.words}"
