"""Open positions: what they are worth now, what protects them, and the way to close one."""

from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, NumberColumn, TextColumn

from db.commands import close_position
from db.queries.positions import PositionFilters, exits_under_way, open_positions, owner_emails
from pages.components.actions import act
from pages.components.export import csv_button
from pages.components.figures import Figure, figures
from pages.components.formats import NOTHING, age, count, money, quantity, signed_money, signed_percent, words
from pages.components.messages import note, page_boundary, plain, show_empty, tell
from pages.components.tables import SIGNED_USD, USD, time_column
from pages.components.time_zone import chosen_zone
from pages.session.guard import Session, require_session

TICK_S = 5


@st.fragment(run_every=TICK_S)
def live_positions(filters: PositionFilters, listed: frozenset[str]) -> None:
    """Show what is held, with a warning when any of it is not protected; renewed while one looks.

    Parameters
    ----------
    listed : the trades that can be chosen below; the list there stays as it is while somebody types
    """
    with page_boundary("list of positions"):
        client = require_session().client
        positions = open_positions(client, filters)
        if positions.empty:
            show_empty("No open position matches. One appears here as soon as an entry order is filled.")
            return
        _warn_of(positions[~positions["is_protected"]])
        figures(_sums(positions), columns=5)
        has_changed = set(positions["trade_id"]) != listed
        if has_changed and st.button("Positions have changed: renew the list below", key="positions_renew"):
            st.rerun()
        _table(with_people(positions, owner_emails(client), exits_under_way(client)), chosen_zone())


def with_people(positions: pd.DataFrame, emails: dict[str, str], exits: pd.DataFrame) -> pd.DataFrame:
    """Add to positions whose they are (`owner`, empty where the reader may not know), their `age`, and `exit`."""
    states = exits.drop_duplicates("trade_id").set_index("trade_id")["state"]
    held = positions["marked_at"].fillna(positions["opened_at"]) - positions["opened_at"]
    return positions.assign(
        owner=positions["owner_id"].map(emails).fillna(""),
        age=held.map(lambda span: age(max(span, timedelta()))),
        exit=positions["trade_id"].map(states).map(lambda state: words(state) if isinstance(state, str) else ""),
    )


def _warn_of(unprotected: pd.DataFrame) -> None:
    if unprotected.empty:
        return
    symbols = ", ".join(sorted(set(unprotected["symbol"])))
    st.error(
        f"**{count(len(unprotected), 'position')} not fully protected:** {symbols}. "
        "The engine places the missing stops; if this stays for more than 10 seconds, look at the engine.",
        icon=":material/gpp_maybe:",
    )


def _sums(positions: pd.DataFrame) -> list[Figure]:
    unprotected = int((~positions["is_protected"]).sum())
    worth = (positions["qty"] * positions["mark_price"].fillna(positions["avg_entry_price"])).sum()
    return [
        Figure("Open positions", f"{len(positions):,}", "Trades of which something is still held."),
        Figure("Unrealised", signed_money(positions["unrealized_pnl_usd"].sum()),
               "(mark − entry price) × quantity, the other way round for short positions, added up."),
        Figure("Held", money(worth), "Quantity × mark, long and short added up."),
        Figure("Open risk", money(positions["risk_usd"].sum()),
               "Distance from mark to stop × quantity, added up: what is given back if every stop is hit at its price. "
               "A gap can cost more, and a position without a stop is not in it."),
        Figure("Protection", f"{len(positions) - unprotected} of {len(positions)}",
               "Positions whose whole quantity working stops at the broker cover.",
               f"{unprotected} NOT PROTECTED" if unprotected else "all protected", "bad" if unprotected else "good"),
    ]  # fmt: skip


def _table(positions: pd.DataFrame, zone: ZoneInfo) -> None:
    st.dataframe(
        positions.assign(
            protection=positions["is_protected"].map({True: "✓ Protected", False: "✗ NOT PROTECTED"}),
            side=positions["side"].map(words),
            result_pct=positions["unrealized_pnl_usd"] / positions["cost_usd"] * 100,
            stop_distance=positions["stop_distance"] * 100,
            target_distance=positions["target_distance"] * 100,
            link="/orders?order=" + positions["trade_id"],
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="positions_table",
        alt="Open positions with protection, stop, target and unrealised result",
        column_order=[
            "symbol", "side", "qty", "unrealized_pnl_usd", "result_pct", "protection", "stop_distance",
            "target_distance", "age", "link", "exit", "avg_entry_price", "mark_price", "stop_price",
            "take_profit_price", "risk_usd", "profile_name", *(["owner"] if positions["owner"].any() else []),
            "opened_at", "marked_at",
        ],
        column_config={
            "symbol": TextColumn("Symbol", pinned=True),
            "side": TextColumn("Side"),
            "qty": NumberColumn("Quantity", format="localized"),
            "unrealized_pnl_usd": NumberColumn("Unrealised (USD)", format=SIGNED_USD, help="(mark − entry) × quantity"),
            "result_pct": NumberColumn("Unrealised", format="%+.2f %%", help="Over what the position cost"),
            "protection": TextColumn("Protection", help="Whether working stops at the broker cover the whole quantity"),
            "exit": TextColumn("Exit", help="How far an exit that was asked for has come"),
            "avg_entry_price": NumberColumn("Entry price", format=USD),
            "mark_price": NumberColumn("Mark", format=USD, help="The last price by which it was valued"),
            "stop_price": NumberColumn("Stop", format=USD),
            "stop_distance": NumberColumn("To stop", format="%.1f %%", help="How far the mark is from the stop"),
            "take_profit_price": NumberColumn("Target", format=USD),
            "target_distance": NumberColumn("To target", format="%.1f %%", help="How far the mark is from the target"),
            "risk_usd": NumberColumn("Open risk", format=USD, help="Given back if the stop is hit at its price"),
            "age": TextColumn("Age", help="From the first fill to the last mark, in market time"),
            "link": LinkColumn("Entry", display_text="Why", width="small", help="The entry, and what the gate judged"),
            "profile_name": TextColumn("Profile"),
            "owner": TextColumn("Owner"),
            "opened_at": time_column("Opened (market time)", zone),
            "marked_at": time_column("Marked (market time)", zone),
        },
    )  # fmt: skip


def close_one(session: Session, positions: pd.DataFrame, filters: PositionFilters, *, may_close: bool) -> None:
    """Let a person choose one position and close it. Outside of what renews itself, so that no input is disturbed."""
    if positions.empty:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        by_name = _by_name(positions)
        if may_close:
            with st.container(horizontal=True, vertical_alignment="bottom", width="content"):
                chosen = by_name[st.selectbox("Position", list(by_name), key="positions_one", width=340)]
                _close_popover(positions.loc[chosen])
        csv_button("positions", lambda: open_positions(session.client, filters))
    if may_close:
        note("Closing is never held back by a pause. Only a halt refuses it.")


def _by_name(positions: pd.DataFrame) -> dict[str, int]:
    """Return the rows of positions by what people call them; two of one name are told apart by their ids."""
    names = [f"{row.symbol} {row.side} {quantity(row.qty)}, {row.profile_name}" for row in positions.itertuples()]
    ids = positions["trade_id"]
    return {name if names.count(name) == 1 else f"{name} ({ids[n][:8]})": n for n, name in enumerate(names)}


def _close_popover(position: pd.Series) -> None:
    trade_id, what = position["trade_id"], f"{quantity(position['qty'])} {position['symbol']}"
    key = f"close_why_{trade_id}"
    verb = "Sell" if position["side"] == "long" else "Buy back"
    with st.popover("Close it", icon=":material/logout:", key=f"close_open_{trade_id}"):
        note(
            f"{verb} {what} at market, of {position['profile_name']}. Unrealised now: "
            f"{signed_money(position['unrealized_pnl_usd'])} ({_percent(position)}). "
            "Its stop and target at the broker are cancelled first. The fill may differ from the mark."
        )
        st.text_input("Why it is closed", key=key, max_chars=500, placeholder="It is kept with your name.")
        st.button(f"{verb} {what} now", type="primary", key=f"close_{trade_id}", on_click=_close,
                  args=(trade_id, what, key))  # fmt: skip


def _percent(position: pd.Series) -> str:
    cost = position["cost_usd"]
    return signed_percent(position["unrealized_pnl_usd"] / cost) if cost else NOTHING


def _close(trade_id: str, what: str, key: str) -> None:
    reason = str(st.session_state[key]).strip()
    if not reason:
        tell("**Nothing was closed.** Say why the position is closed, then press the button again.", failed=True)
        return
    act(
        lambda client, id_: close_position(client, trade_id=UUID(trade_id), reason=reason, request_id=id_),
        lambda answer: plain(
            f"Asked for: the engine closes {what} at market. Order {str(answer.order_id)[:8]} on Orders."
        ),
        content=("close", trade_id, reason),
    )
