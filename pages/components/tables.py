"""Tables: which columns, under which names, in which format. Every market time says so."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import DatetimeColumn, NumberColumn, TextColumn

from pages.components.formats import NOTHING, age, words
from pages.components.targets import target_name

USD = "$%,.2f"
SIGNED_USD = "%+,.2f"
PERCENT = "%+.2f %%"
QTY = "%,.4~f"


def positions_table(positions: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show open positions with distance to stop and target, and whether they are protected."""
    shown = positions.assign(
        protection=positions["is_protected"].map({True: "✓ Protected", False: "✗ NOT PROTECTED"}),
        side=positions["side"].map(words),
        stop_distance=positions["stop_distance"] * 100,
        target_distance=positions["target_distance"] * 100,
    )
    st.dataframe(
        shown,
        hide_index=True,
        key="positions_table",
        alt="Open positions with protection, stop, target and unrealised result",
        column_order=[
            "symbol", "profile_name", "side", "qty", "avg_entry_price", "mark_price", "unrealized_pnl_usd",
            "protection", "stop_price", "stop_distance", "take_profit_price", "target_distance", "risk_usd",
            "opened_at", "marked_at",
        ],
        column_config={
            "symbol": TextColumn("Symbol", pinned=True),
            "profile_name": TextColumn("Profile"),
            "side": TextColumn("Side"),
            "qty": NumberColumn("Quantity", format="localized"),
            "avg_entry_price": NumberColumn("Entry price", format=USD),
            "mark_price": NumberColumn("Mark", format=USD),
            "unrealized_pnl_usd": NumberColumn("Unrealised (USD)", format=SIGNED_USD),
            "protection": TextColumn("Protection", help="Whether working stops at the broker cover the whole quantity"),
            "stop_price": NumberColumn("Stop", format=USD),
            "stop_distance": NumberColumn("To stop", format="%.1f %%", help="How far the mark is from the stop"),
            "take_profit_price": NumberColumn("Target", format=USD),
            "target_distance": NumberColumn("To target", format="%.1f %%"),
            "risk_usd": NumberColumn("Open risk", format=USD, help="Given back if the stop is hit at its price"),
            "opened_at": _time("Opened (market time)", zone),
            "marked_at": _time("Marked (market time)", zone),
        },
    )  # fmt: skip


def orders_table(orders: pd.DataFrame, zone: ZoneInfo) -> str | None:
    """Show orders; return the id of the one that was selected, or None."""
    shown = orders.assign(
        state=orders["state"].map(_state),
        purpose=orders["purpose"].map(words),
        code=orders["code"].fillna(""),
        reason=orders["reason"].fillna(""),
        side=orders["side"].map(words),
        price=orders["filled_avg_price"].fillna(orders["limit_price"]).fillna(orders["stop_price"]),
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        key="orders_table",
        on_select="rerun",
        selection_mode="single-row",
        height=430,
        alt="Orders, the newest first, with state and the reason of every denial",
        column_order=[
            "state", "symbol", "purpose", "side", "qty", "filled_qty", "price", "code", "reason", "market_at",
            "created_at", "profile_name", "ended_at",
        ],
        column_config={
            "state": TextColumn("State", pinned=True),
            "symbol": TextColumn("Symbol"),
            "purpose": TextColumn("Purpose"),
            "side": TextColumn("Side"),
            "qty": NumberColumn("Quantity", format="localized"),
            "filled_qty": NumberColumn("Filled", format="localized"),
            "price": NumberColumn("Price", format=USD, help="Average fill, else the limit, else the stop"),
            "code": TextColumn("Code"),
            "reason": TextColumn("Reason", width=280),
            "profile_name": TextColumn("Profile"),
            "market_at": _time("Decided (market time)", zone),
            "created_at": _time("Recorded", zone),
            "ended_at": _time("Ended (recorded)", zone),
        },
    )  # fmt: skip
    chosen = event.selection.rows
    return str(orders.iloc[chosen[0]]["id"]) if chosen and chosen[0] < len(orders) else None


def trades_table(trades: pd.DataFrame, zone: ZoneInfo) -> int:
    """Show closed trades; return the position of the selected one, the newest until one is selected."""
    shown = trades.assign(
        position_side=trades["position_side"].map(words),
        exit_reason=trades["exit_reason"].map(words),
        return_pct=trades["return_pct"] * 100,
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        key="trades_table",
        on_select="rerun",
        selection_mode="single-row",
        height=330,
        alt="Closed trades, the last closed first, with result and what closed them",
        column_order=[
            "symbol", "profile_name", "realized_pnl_usd", "return_pct", "exit_reason", "position_side",
            "qty_entered", "entry_price", "exit_price", "opened_at", "closed_at",
        ],
        column_config={
            "symbol": TextColumn("Symbol", pinned=True),
            "profile_name": TextColumn("Profile"),
            "realized_pnl_usd": NumberColumn("Result (USD)", format=SIGNED_USD),
            "return_pct": NumberColumn("Return", format=PERCENT),
            "exit_reason": TextColumn("Closed by"),
            "position_side": TextColumn("Side"),
            "qty_entered": NumberColumn("Quantity", format="localized"),
            "entry_price": NumberColumn("Entry", format=USD),
            "exit_price": NumberColumn("Exit", format=USD),
            "opened_at": _time("Opened (market time)", zone),
            "closed_at": _time("Closed (market time)", zone),
        },
    )  # fmt: skip
    chosen = event.selection.rows
    return chosen[0] if chosen and chosen[0] < len(trades) else 0


def denials_table(denials: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show the last refused entries, briefly."""
    st.dataframe(
        denials.assign(side=denials["side"].map(words)),
        hide_index=True,
        key="denials_table",
        alt="Entries that the gate refused last, with the reason",
        column_order=["code", "symbol", "side", "reason", "profile_name", "market_at", "created_at"],
        column_config={
            "code": TextColumn("Code"),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "reason": TextColumn("Reason", width="large"),
            "profile_name": TextColumn("Profile"),
            "market_at": _time("Decided (market time)", zone),
            "created_at": _time("Recorded", zone),
        },
    )


def history_table(history: pd.DataFrame, profile_names: dict[str, str], zone: ZoneInfo) -> None:
    """Show the changes of the controls, and how long each lasted."""
    scopes = [target_name(*scope, profile_names) for scope in zip(history["scope"], history["scope_key"], strict=True)]
    st.dataframe(
        history.assign(
            scope=scopes,
            change=history["from_mode"] + " → " + history["to_mode"],
            lasted=_ages(history["duration_s"]) + history["ended_at"].isna().map({True: ", goes on", False: ""}),
        ),
        hide_index=True,
        key="history_table",
        alt="Changes of the trading controls with how long they lasted, the newest first",
        column_order=["changed_at", "change", "scope", "lasted", "changed_by_email", "reason", "entries_canceled",
                      "entries_in_flight"],
        column_config={
            "changed_at": _time("When", zone),
            "change": TextColumn("Change"),
            "scope": TextColumn("Scope"),
            "lasted": TextColumn("Lasted"),
            "changed_by_email": TextColumn("By"),
            "reason": TextColumn("Reason", width="medium"),
            "entries_canceled": NumberColumn("Entries cancelled", format="%d"),
            "entries_in_flight": NumberColumn("Entries in flight", format="%d"),
        },
    )  # fmt: skip


def approvals_table(approvals: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show approvals that are over: what became of them, who decided, how long it took."""
    st.dataframe(
        approvals.assign(
            status=approvals["status"].map(_approval_status),
            side=approvals["side"].map(words),
            decided_by_email=approvals["decided_by_email"].fillna(""),
            decision_reason=approvals["decision_reason"].fillna(""),
            release_code=approvals["release_code"].fillna(""),
            reasons=approvals["reasons"].map(lambda reasons: ", ".join(words(reason) for reason in reasons)),
            waited=_ages(approvals["waited_s"]),
        ),
        hide_index=True,
        key="approvals_table",
        alt="Approvals that are over, the last asked first, with who decided and how long it took",
        column_order=["status", "symbol", "side", "qty", "limit_price", "notional_usd", "waited", "decided_by_email",
                      "decision_reason", "release_code", "reasons", "profile_name", "requested_at", "decided_at"],
        column_config={
            "status": TextColumn("Outcome", pinned=True),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "qty": NumberColumn("Quantity", format="localized"),
            "limit_price": NumberColumn("Limit", format=USD),
            "notional_usd": NumberColumn("Size", format=USD),
            "waited": TextColumn("Decided after"),
            "decided_by_email": TextColumn("By"),
            "decision_reason": TextColumn("Reason"),
            "release_code": TextColumn("Gate at release", help="Why the gate said no when the entry was released"),
            "reasons": TextColumn("Asked because"),
            "profile_name": TextColumn("Profile"),
            "requested_at": _time("Asked", zone),
            "decided_at": _time("Decided", zone),
        },
    )  # fmt: skip


def lockouts_table(lockouts: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show lockouts that are over, and how each ended."""
    removed = lockouts["removed_at"].notna()
    st.dataframe(
        lockouts.assign(
            lockout_type=lockouts["lockout_type"].map(words),
            side=lockouts["side"].fillna("both").map(words),
            lasted=_ages(lockouts["lasted_s"]),
            removed_by_email=lockouts["removed_by_email"].fillna(""),
            removed_reason=lockouts["removed_reason"].fillna(""),
            profile_name=lockouts["profile_name"].fillna("All"),
            ended=removed.map({True: "Removed", False: "Ran out"}),
        ),
        hide_index=True,
        key="lockouts_table",
        alt="Lockouts that are over, the last begun first, with how long they lasted and who removed them",
        column_order=["ticker", "lockout_type", "side", "reason", "lasted", "ended", "removed_by_email",
                      "removed_reason", "created_by_email", "profile_name", "starts_at", "ended_at"],
        column_config={
            "ticker": TextColumn("Symbol", pinned=True),
            "lockout_type": TextColumn("Kind"),
            "side": TextColumn("Side"),
            "reason": TextColumn("Reason", width="medium"),
            "lasted": TextColumn("Lasted"),
            "ended": TextColumn("How it ended"),
            "removed_by_email": TextColumn("Removed by"),
            "removed_reason": TextColumn("Why"),
            "created_by_email": TextColumn("Set by"),
            "profile_name": TextColumn("Profile"),
            "starts_at": _time("From", zone),
            "ended_at": _time("Until", zone),
        },
    )  # fmt: skip


def _time(label: str, zone: ZoneInfo) -> object:
    return DatetimeColumn(label, format="DD MMM YYYY, HH:mm:ss", timezone=zone.key)


# Signs that every text font has; the word beside them says the same.
_STATE_SIGNS = {
    "denied": "✗", "rejected": "✗", "approval_rejected": "✗", "unknown": "?", "filled": "✓", "partially_filled": "✓",
    "canceled": "○", "expired": "○", "approval_expired": "○", "replaced": "○",
}  # fmt: skip


def _state(state: str) -> str:
    return f"{_STATE_SIGNS.get(state, '●')} {words(state)}"


_APPROVAL_SIGNS = {"approved": "✓", "rejected": "✗", "denied": "✗", "expired": "○", "canceled": "○"}


def _approval_status(status: str) -> str:
    if status == "pending":  # its time is over, and the engine has not closed it yet
        return "○ Run out"
    return f"{_APPROVAL_SIGNS[status]} {words(status)}"


def _ages(seconds: pd.Series) -> pd.Series:
    """Return spans in seconds as people say them."""
    return seconds.map(lambda span: NOTHING if pd.isna(span) else age(timedelta(seconds=span)))
