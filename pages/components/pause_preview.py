"""What a pause would do right now: which entries it takes back, and what it leaves alone."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from db.queries.orders import open_orders
from db.queries.positions import open_positions
from pages.components.formats import count
from pages.components.messages import note
from pages.components.targets import Target
from pages.session.guard import Session

_UNSENT, _ON_ITS_WAY, _RESTING = (
    ("awaiting_approval", "ready"), ("submitting", "unknown"), ("working", "partially_filled"),
)  # fmt: skip
_PROTECTIVE = ("stop_loss", "take_profit")


@dataclass(frozen=True)
class PauseEffect:
    """What lies within a scope. `resting` and `unprotected`: the symbols, each as often as it is meant."""

    unsent: int
    on_their_way: int
    resting: tuple[str, ...]
    exits: int
    protective: int
    positions: int
    unprotected: tuple[str, ...]


def pause_preview(session: Session, target: Target) -> None:
    """Show what a pause of a scope would cancel, and what stays."""
    effect = effect_of(open_orders(session.client), open_positions(session.client), target)
    with st.container(border=True, key="pause_preview"):
        st.markdown(f"**If you pause {target.name} now**".replace("_", r"\_"))
        note(*effect_words(effect))


def effect_of(orders: pd.DataFrame, positions: pd.DataFrame, target: Target) -> PauseEffect:
    """Return what a pause of a scope finds.

    Parameters
    ----------
    orders : as `db.queries.orders.open_orders`
    positions : as `db.queries.positions.open_positions`
    """
    orders, positions = _within(orders, target), _within(positions, target)
    entries = orders[orders["purpose"] == "entry"]
    return PauseEffect(
        unsent=int(entries["state"].isin(_UNSENT).sum()),
        on_their_way=int(entries["state"].isin(_ON_ITS_WAY).sum()),
        resting=tuple(entries.loc[entries["state"].isin(_RESTING), "symbol"]),
        exits=int((orders["purpose"] == "exit").sum()),
        protective=int(orders["purpose"].isin(_PROTECTIVE).sum()),
        positions=len(positions),
        unprotected=tuple(positions.loc[~positions["is_protected"], "symbol"]),
    )


def effect_words(effect: PauseEffect) -> list[str]:
    """Return what a pause would do, in sentences: what it cancels, what it waits for, what stays."""
    taken = f"Cancelled, unless you untick it: {count(effect.unsent, 'entry')} not sent yet"
    rest = f"{count(len(effect.resting), 'entry order')} at the broker{_named(effect.resting)}"
    waited = (
        f"Waited for, until its fate is known: {count(effect.on_their_way, 'entry')} on the way to the broker."
        if effect.on_their_way
        else "No entry is on its way to the broker."
    )
    safe = f"{effect.positions - len(effect.unprotected)} protected by stops at the broker"
    bare = f", {len(effect.unprotected)} NOT PROTECTED{_named(effect.unprotected)}" if effect.unprotected else ""
    return [
        f"{taken}, {rest}.",
        waited,
        f"Left alone: {count(effect.positions, 'open position')} ({safe}{bare}), "
        f"{count(effect.protective, 'stop or target order')}, {count(effect.exits, 'exit')} under way.",
    ]


def _within(rows: pd.DataFrame, target: Target) -> pd.DataFrame:
    if target.scope == "global":
        return rows
    return rows[rows["profile_id" if target.scope == "profile" else "symbol"] == target.key]


def _named(symbols: tuple[str, ...]) -> str:
    return f" ({', '.join(sorted(set(symbols)))})" if symbols else ""
