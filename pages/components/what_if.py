"""What if: recorded decisions under a change, which would have passed or not, and what that would have brought."""

from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, NumberColumn, TextColumn

from db.queries.replays import REPLAYED_MAX, Recorded
from engine.domain.price_path import ENTRY_BARS, HORIZON_BARS
from engine.domain.what_if import Verdict, WhatIf, effect_of
from pages.charts.counterfactual import difference_figure, difference_in_words
from pages.components.export import csv_button
from pages.components.figures import Figure, figures
from pages.components.formats import NOTHING, count, signed_money, words
from pages.components.messages import show_empty
from pages.components.tables import SIGNED_USD, USD, time_column
from pages.components.why_words import code_words

ASSUMPTIONS = f"""
**This is a counterfactual: nobody traded it.** The gate's own snapshots are judged again by the gate's own rules.

- An entry that was not made is filled at the open of the first bar after it was asked if its limit allows that, else
  at its limit if one of the first {ENTRY_BARS} bars reaches it, else not at all.
- It leaves at the stop or the target that it was asked with (at a bar's open beyond them; the stop where one bar
  reaches both), or by the profile's holding rules. Trailing stops, exits by signal, costs and slippage do not count.
  After {HORIZON_BARS} bars it is closed at the last close; where the bars end before, it is valued at their last one.
- An entry that was made, and would not have been, takes its recorded result with it; one that is still open is not
  known.
- Entries that are added or taken away change capital, exposure, positions, open entries and order rates for later
  decisions. Losses, drawdown and losing streaks stay as they were recorded, and so does what the strategies asked for:
  only what was put to the gate can be judged.
"""


def assumptions() -> None:
    """Say what is assumed."""
    with st.expander("How this is worked out", icon=":material/info:"):
        st.markdown(ASSUMPTIONS)


def what_of_it(recorded: Recorded) -> None:
    """Say which of the period's decisions are looked at."""
    if not recorded.is_all:
        st.caption(f"Looked at: the newest {REPLAYED_MAX:,} entries of the period. Choose a shorter period for others.")
    if recorded.unreadable:
        st.caption(f"{count(recorded.unreadable, 'entry')} left out: the record is older than this way of judging.")


def show_what_if(found: WhatIf, names: dict[str, str], zone: ZoneInfo) -> None:
    """Show what the change would have changed, entry by entry and in all."""
    figures(_figures(found), columns=4, min_width=190)
    changed = verdicts_frame(found.changed, names)
    if changed.empty:
        show_empty("The gate would have given every entry of the period the same answer.")
        return
    moved = verdicts_frame([*found.added, *found.removed], names)
    if not moved.empty:
        st.plotly_chart(difference_figure(moved), key="difference", alt=difference_in_words(moved))
    _table(changed, zone)
    csv_button("what-if", lambda: changed)


def _figures(found: WhatIf) -> list[Figure]:
    unknown = count(found.unknown, "entry") + " not known" if found.unknown else None
    return [
        Figure("Difference (counterfactual)", signed_money(float(found.difference_usd)),
               "What the added entries would have brought, less what the ones that fall away brought.", unknown),
        Figure("Would have passed", f"{len(found.added):,}",
               "Entries that did not go to the broker, and would have; what they would have earned beneath.",
               signed_money(float(effect_of(found.added)))),
        Figure("Would have been kept back", f"{len(found.removed):,}",
               "Entries that went to the broker, and would not have; what that would have saved or cost beneath.",
               signed_money(float(effect_of(found.removed)))),
        Figure("Looked at", f"{len(found.verdicts):,}", "Recorded entries of the period that were judged again.",
               f"{len(found.changed):,} answered otherwise"),
    ]  # fmt: skip


def verdicts_frame(verdicts: list[Verdict], names: dict[str, str]) -> pd.DataFrame:
    """Return verdicts as a table: one row an entry, in the order given; amounts in USD, `market_at` market time."""
    columns = {
        "market_at": [v.judged.entry.market_at for v in verdicts],
        "symbol": [v.judged.entry.symbol for v in verdicts],
        "side": ["long" if v.judged.entry.plan.is_long else "short" for v in verdicts],
        "profile_name": [names.get(v.judged.entry.profile_id, NOTHING) for v in verdicts],
        "was": [_answer(v.judged.entry.fate, v.judged.entry.code) for v in verdicts],
        "would": [_answer(v.judged.fate, v.judged.code) for v in verdicts],
        "effect_usd": [None if v.effect_usd is None else float(v.effect_usd) for v in verdicts],
        "entry_price": [float(v.path.entry_price) if v.path and v.path.entry_price else None for v in verdicts],
        "exit_price": [float(v.path.exit_price) if v.path and v.path.exit_price else None for v in verdicts],
        "ended": [words(v.path.ended) if v.path else "" for v in verdicts],
        "order_id": [v.judged.entry.id for v in verdicts],
    }
    frame = pd.DataFrame(columns).astype(dict.fromkeys(("effect_usd", "entry_price", "exit_price"), "float64"))
    return frame.assign(market_at=pd.to_datetime(frame["market_at"], utc=True))


def _answer(fate: str, code: str | None) -> str:
    return f"{words(fate)}: {code}" if code and code != fate else words(fate)


def _because(would: str) -> str:
    fate, _, code = would.partition(": ")
    return "It would have been open already" if fate == "Not asked" else code_words(code) if code else ""


def _table(changed: pd.DataFrame, zone: ZoneInfo) -> None:
    st.dataframe(
        changed.assign(
            link="/decisions?order=" + changed["order_id"],
            why=[_because(would) for would in changed["would"]],
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="what_if_table",
        alt="Entries that would have been answered otherwise, with the counterfactual effect of each",
        column_order=["link", "market_at", "symbol", "side", "was", "would", "why", "effect_usd", "ended",
                      "entry_price", "exit_price", "profile_name"],
        column_config={
            "link": LinkColumn("Checks", display_text="Open", width="small"),
            "market_at": time_column("Asked (market time)", zone),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "was": TextColumn("In the record"),
            "would": TextColumn("In the replay"),
            "why": TextColumn("Because"),
            "effect_usd": NumberColumn("Effect (USD)", format=SIGNED_USD,
                                       help="Counterfactual: what the replay gains (+) or loses (-) by it"),
            "ended": TextColumn("Would have ended by"),
            "entry_price": NumberColumn("Entry", format=USD, help="Counterfactual"),
            "exit_price": NumberColumn("Exit", format=USD, help="Counterfactual"),
            "profile_name": TextColumn("Profile"),
        },
    )  # fmt: skip
