"""Signals: what a strategy wanted, what each layer said of it, and what another switch would change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, NumberColumn, TextColumn

from db.queries.signals import LAYERS, SignalFilters
from pages.components.figures import Figure, figures
from pages.components.formats import NOTHING, count, words
from pages.components.funnel_filters import SPANS
from pages.components.tables import state_words, time_column

REACHED, BLOCKED = "Reached the gate", "Kept back by a layer"
_NAMES = {"macro": "Macro layer", "competitive": "Competitive layer"}
_HELP = {
    "macro": "No new long positions while the index is below its long average, no new short ones above it.",
    "competitive": "No long position in what is weaker than its peers, no short one in what is stronger.",
}


@dataclass(frozen=True)
class SignalChoice:
    """Which signals were chosen to be looked at; the period ends now."""

    profile_id: str
    span: str
    symbol: str | None
    blocked: bool | None

    def filters(self, at: datetime) -> SignalFilters:
        """Return it as a period with a beginning and an end, seen at a moment."""
        return SignalFilters(self.profile_id, at - SPANS[self.span], at, self.symbol, self.blocked)


def signal_filters(profiles: pd.DataFrame) -> SignalChoice:
    """Show whose signals of which period are looked at; return what was chosen. `profiles`: not empty."""
    labels = _labels(profiles)
    span = st.segmented_control("Period", list(SPANS), default="Week", required=True, key="signals_period",
                                bind="query-params", help="Up to now, by the database's clock.")  # fmt: skip
    with st.grid(3, min_column_width=200):
        name = st.selectbox("Profile", list(labels), key="signals_profile", bind="query-params")
        own = sorted(profiles.loc[profiles["id"] == labels[name], "symbols"].iloc[0])
        symbol = st.selectbox("Symbol", own, index=None, key="signals_symbol", bind="query-params", placeholder="All")
        outcome = st.selectbox("Outcome", [REACHED, BLOCKED], index=None, key="signals_outcome", bind="query-params",
                               placeholder="All")  # fmt: skip
    return SignalChoice(labels[name], span, symbol, None if outcome is None else outcome == BLOCKED)


def layer_effects(signals: pd.DataFrame, switches: dict[str, bool]) -> None:
    """Show, of the signals on the page, what each layer did and what switching it would change."""
    said = rulings_of(signals)
    found = []
    for layer in LAYERS:
        judged, blocked, alone = layer_counts(said, layer)
        state = "on" if switches.get(layer) else "off"
        if judged:
            told = f"alone kept back {alone:,}: without it these would reach the gate"
        else:
            told = "has judged none of these: what it would have said is not known"
        found.append(
            Figure(f"{_NAMES[layer]}: {state}", f"{blocked:,} of {judged:,} kept back", f"{_HELP[layer]} On or off in "
                   "the risk configuration. Counted over the signals on this page that it judged.", told)
        )  # fmt: skip
    figures(found, columns=2, min_width=300)
    st.caption(f"Of the {count(len(signals), 'signal')} on this page.")


def rulings_of(signals: pd.DataFrame) -> list[dict[str, bool]]:
    """Return for each signal which layers judged it, and whether it passed each."""
    return [
        {ruling["layer"]: bool(ruling["passed"]) for ruling in detail.get("layers", [])} if detail else {}
        for detail in signals["detail"]
    ]


def layer_counts(said: list[dict[str, bool]], layer: str) -> tuple[int, int, int]:
    """Return how many signals a layer judged, how many it spoke against, and how many it alone spoke against."""
    judged = [rulings for rulings in said if layer in rulings]
    against = [rulings for rulings in judged if not rulings[layer]]
    alone = [rulings for rulings in against if all(passed for name, passed in rulings.items() if name != layer)]
    return len(judged), len(against), len(alone)


def signals_table(signals: pd.DataFrame, entries: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show signals, the newest first, with what the strategy saw, what the layers said and what came of it.

    Parameters
    ----------
    entries : what the signals led to, columns DECIDED_COLUMNS
    """
    led_to = {entry.signal_id: entry for entry in entries.assign(code=entries["code"].fillna("")).itertuples()}
    found = [led_to.get(id) for id in signals["id"]]
    st.dataframe(
        signals.assign(
            outcome=[f"✗ Kept back by {name}" if isinstance(name, str) else "✓ Reached the gate"
                     for name in signals["blocked_by"]],
            side=signals["side"].map(words),
            strategy=signals["strategy"].map(words),
            because=[(detail or {}).get("reason", "") for detail in signals["detail"]],
            layers=[_said(detail) for detail in signals["detail"]],
            answer=[_answer(entry.state, entry.code) if entry else None for entry in found],
            link=[f"/decisions?order={entry.id}" if entry else None for entry in found],
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="signals_table",
        height=430,
        alt="Signals, the newest first, with their reason and what each layer said",
        column_order=["outcome", "symbol", "side", "answer", "link", "because", "layers", "strength", "strategy",
                      "bar_at", "market_at", "created_at"],
        column_config={
            "outcome": TextColumn("Outcome", pinned=True),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "answer": TextColumn("What came of it"),
            "link": LinkColumn("Checks", display_text="Open", width="small"),
            "because": TextColumn("What the strategy saw", width="large"),
            "layers": TextColumn("What the layers said", width="large"),
            "strength": NumberColumn("Strength", format="%.3f"),
            "strategy": TextColumn("Strategy"),
            "bar_at": time_column("Bar (market time)", zone),
            "market_at": time_column("Seen (market time)", zone),
            "created_at": time_column("Recorded", zone),
        },
    )  # fmt: skip


def export_frame(signals: pd.DataFrame) -> pd.DataFrame:
    """Return signals for a file: the layers' words in a column instead of the raw detail."""
    return signals.assign(layers=[_said(detail) for detail in signals["detail"]]).drop(columns="detail")


def _answer(state: str, code: str) -> str:
    return f"{state_words(state)}: {code}" if code else state_words(state)


def _said(detail: dict[str, Any] | None) -> str:
    rulings = (detail or {}).get("layers", [])
    return " ".join(f"{'✓' if ruling['passed'] else '✗'} {ruling['reason']}" for ruling in rulings)


def _labels(profiles: pd.DataFrame) -> dict[str, str]:
    """Return the profiles' ids by name; two of the same name are told apart by their ids."""
    names, ids = profiles["name"], profiles["id"]
    labels = names.where(~names.duplicated(keep=False), names + " (" + ids.str[:8] + ")")
    return dict(zip(labels, ids, strict=True))
