"""Filters that live in the address, so that what one person sees can be sent to another."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from db.queries.approvals import STATUSES, ApprovalFilters
from db.queries.lockouts import LOCKOUT_TYPES, LockoutFilters
from db.queries.orders import OrderFilters
from db.queries.trades import TradeFilters
from pages.components.formats import words

STATES = (
    "denied", "awaiting_approval", "ready", "submitting", "unknown", "working", "partially_filled", "filled",
    "canceled", "expired", "rejected", "replaced", "approval_rejected", "approval_expired",
)  # fmt: skip
PURPOSES = ("entry", "exit", "stop_loss", "take_profit")
EXIT_REASONS = ("stop_loss", "take_profit", "signal", "manual")


def order_filters(profiles: pd.DataFrame) -> OrderFilters:
    """Show the filters of the orders; return what was chosen."""
    with st.grid(4, min_column_width=180):
        states = _choose("State", STATES, key="orders_state")
        names = _choose("Profile", sorted(profiles["name"]), key="orders_profile", in_words=False)
        symbols = _choose("Symbol", _symbols(profiles), key="orders_symbol", in_words=False)
        purposes = _choose("Purpose", PURPOSES, key="orders_purpose")
    return OrderFilters(states, _ids(profiles, names), symbols, purposes)


def trade_filters(profiles: pd.DataFrame) -> TradeFilters:
    """Show the filters of the trades; return what was chosen."""
    with st.grid(3, min_column_width=180):
        names = _choose("Profile", sorted(profiles["name"]), key="trades_profile", in_words=False)
        symbols = _choose("Symbol", _symbols(profiles), key="trades_symbol", in_words=False)
        reasons = _choose("Closed by", EXIT_REASONS, key="trades_reason")
    return TradeFilters(_ids(profiles, names), symbols, reasons)


def approval_filters(profiles: pd.DataFrame) -> ApprovalFilters:
    """Show the filters of what waits for a decision; return what was chosen."""
    with st.grid(2, min_column_width=180):
        names = _choose("Profile", sorted(profiles["name"]), key="approvals_profile", in_words=False)
        symbols = _choose("Symbol", _symbols(profiles), key="approvals_symbol", in_words=False)
    return ApprovalFilters((), _ids(profiles, names), symbols)


def outcome_filter(filters: ApprovalFilters) -> ApprovalFilters:
    """Show the filter by outcome; return the other filters with what was chosen."""
    return replace(filters, statuses=_choose("Outcome", STATUSES[1:], key="approvals_outcome"))


def lockout_filters(profiles: pd.DataFrame) -> LockoutFilters:
    """Show the filters of the lockouts; return what was chosen."""
    with st.grid(2, min_column_width=180):
        types = _choose("Kind", LOCKOUT_TYPES, key="lockouts_kind")
        tickers = _choose("Symbol", ["*", *_symbols(profiles)], key="lockouts_symbol", in_words=False)
    return LockoutFilters(types, tickers)


def _choose(label: str, options: tuple[str, ...] | list[str], *, key: str, in_words: bool = True) -> tuple[str, ...]:
    chosen = st.multiselect(
        label, options, format_func=words if in_words else str, key=key, bind="query-params", placeholder="All"
    )
    return tuple(chosen)


def _ids(profiles: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(profiles.loc[profiles["name"].isin(names), "id"])


def _symbols(profiles: pd.DataFrame) -> list[str]:
    return sorted({symbol for symbols in profiles["symbols"] for symbol in symbols})
