"""Tables: which columns, under which names, in which format. Every market time says so."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import DatetimeColumn, LinkColumn, NumberColumn, TextColumn

from pages.components.address import open_selected
from pages.components.formats import NOTHING, age, words
from pages.components.lockout_source import source_link, source_words
from pages.components.targets import target_name

USD = "$%,.2f"
SIGNED_USD = "%+,.2f"
PERCENT = "%+.2f %%"
QTY = "%,.4~f"


def orders_table(orders: pd.DataFrame, zone: ZoneInfo, *, opens: str) -> None:
    """Show orders; selecting one opens it in the address under the name `opens`."""
    shown = orders.assign(
        state=orders["state"].map(state_words),
        purpose=orders["purpose"].map(words),
        code=orders["code"].fillna(""),
        reason=orders["reason"].fillna(""),
        side=orders["side"].map(words),
        price=orders["filled_avg_price"].fillna(orders["limit_price"]).fillna(orders["stop_price"]),
    )
    st.dataframe(
        shown,
        hide_index=True,
        placeholder=NOTHING,
        key="orders_table",
        on_select=open_selected(opens, "orders_table", orders["id"].tolist()),
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
            "market_at": time_column("Decided (market time)", zone),
            "created_at": time_column("Recorded", zone),
            "ended_at": time_column("Ended (recorded)", zone),
        },
    )  # fmt: skip


def denials_table(denials: pd.DataFrame, zone: ZoneInfo) -> None:
    """Show the last refused entries, briefly."""
    st.dataframe(
        denials.assign(side=denials["side"].map(words), link="/orders?order=" + denials["id"]),
        hide_index=True,
        placeholder=NOTHING,
        key="denials_table",
        alt="Entries that the gate refused last, with the reason",
        column_order=["link", "code", "symbol", "side", "reason", "profile_name", "market_at", "created_at"],
        column_config={
            "link": LinkColumn("Checks", display_text="Why", width="small"),
            "code": TextColumn("Code"),
            "symbol": TextColumn("Symbol"),
            "side": TextColumn("Side"),
            "reason": TextColumn("Reason", width="large"),
            "profile_name": TextColumn("Profile"),
            "market_at": time_column("Decided (market time)", zone),
            "created_at": time_column("Recorded", zone),
        },
    )


def history_table(history: pd.DataFrame, profile_names: dict[str, str], zone: ZoneInfo) -> None:
    """Show the changes of the controls, and how long each lasted."""
    scopes = [target_name(*scope, profile_names) for scope in zip(history["scope"], history["scope_key"], strict=True)]
    st.dataframe(
        history.assign(
            scope=scopes,
            change=history["from_mode"] + " → " + history["to_mode"],
            kind=history["reason_code"].map(words),
            lasted=_ages(history["duration_s"]) + history["ended_at"].isna().map({True: ", goes on", False: ""}),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="history_table",
        alt="Changes of the trading controls with how long they lasted, the newest first",
        column_order=["changed_at", "change", "scope", "lasted", "changed_by_email", "kind", "reason",
                      "entries_canceled", "entries_in_flight"],
        column_config={
            "changed_at": time_column("When", zone),
            "change": TextColumn("Change"),
            "scope": TextColumn("Scope"),
            "lasted": TextColumn("Lasted"),
            "changed_by_email": TextColumn("By"),
            "kind": TextColumn("Kind", help="The kind of reason, so that stops can be counted by it"),
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
        placeholder=NOTHING,
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
            "requested_at": time_column("Asked", zone),
            "decided_at": time_column("Decided", zone),
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
            source=lockouts["detail"].map(lambda seen: source_words(seen or {}, zone)),
            link=lockouts["detail"].map(lambda seen: source_link(seen or {})),
        ),
        hide_index=True,
        placeholder=NOTHING,
        key="lockouts_table",
        alt="Lockouts that are over, the last begun first, with how long they lasted and who removed them",
        column_order=["ticker", "lockout_type", "side", "reason", "lasted", "ended", "removed_by_email",
                      "removed_reason", "created_by_email", "source", "link", "profile_name", "starts_at", "ended_at"],
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
            "source": TextColumn("What was seen", width="medium"),
            "link": LinkColumn("Source", display_text="Open", width="small"),
            "profile_name": TextColumn("Profile"),
            "starts_at": time_column("From", zone),
            "ended_at": time_column("Until", zone),
        },
    )  # fmt: skip


def time_column(label: str, zone: ZoneInfo) -> object:
    """Return a column of times to the second, in a zone."""
    return DatetimeColumn(label, format="DD MMM YYYY, HH:mm:ss", timezone=zone.key)


# Signs that every text font has; the word beside them says the same.
_STATE_SIGNS = {
    "denied": "✗", "rejected": "✗", "approval_rejected": "✗", "unknown": "?", "filled": "✓", "partially_filled": "✓",
    "canceled": "○", "expired": "○", "approval_expired": "○", "replaced": "○",
}  # fmt: skip


def state_words(state: str) -> str:
    """Return an order's state with its sign: ✓ Filled."""
    return f"{_STATE_SIGNS.get(state, '●')} {words(state)}"


_APPROVAL_SIGNS = {"approved": "✓", "rejected": "✗", "denied": "✗", "expired": "○", "canceled": "○"}


def _approval_status(status: str) -> str:
    if status == "pending":  # its time is over, and the engine has not closed it yet
        return "○ Run out"
    return f"{_APPROVAL_SIGNS[status]} {words(status)}"


def _ages(seconds: pd.Series) -> pd.Series:
    """Return spans in seconds as people say them."""
    return seconds.map(lambda span: NOTHING if pd.isna(span) else age(timedelta(seconds=span)))
