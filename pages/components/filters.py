"""Filters that live in the address, so that what one person sees can be sent to another."""

from dataclasses import dataclass, replace
from datetime import date

import pandas as pd
import streamlit as st

from db.queries.approvals import STATUSES, ApprovalFilters
from db.queries.lockouts import LOCKOUT_TYPES, LockoutFilters
from db.queries.orders import OrderFilters
from db.queries.positions import PositionFilters
from db.queries.trades import TradeFilters
from pages.components.formats import words
from pages.components.periods import DEFAULT, PERIODS

STATES = (
    "denied", "awaiting_approval", "ready", "submitting", "unknown", "working", "partially_filled", "filled",
    "canceled", "expired", "rejected", "replaced", "approval_rejected", "approval_expired",
)  # fmt: skip
PURPOSES = ("entry", "exit", "stop_loss", "take_profit")
EXIT_REASONS = ("stop_loss", "take_profit", "signal", "manual")
SIDES = ("long", "short")
EQUAL_PARTS, NO_BENCHMARK = "All symbols in equal parts", "None"
_FIRST_DAY, _LAST_DAY = date(1990, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True)
class PerformanceChoice:
    """Which period of which profiles is looked at, and beside what. No profiles: all that the caller sees."""

    period: str
    profile_ids: tuple[str, ...]
    benchmark: str
    benchmark_symbols: tuple[str, ...]


def order_filters(profiles: pd.DataFrame, zone: str) -> OrderFilters:
    """Show the filters of the orders; return what was chosen. `zone`: the one in which a day is meant."""
    with st.grid(5, min_column_width=170):
        states = _choose("State", STATES, key="orders_state")
        names = _choose("Profile", sorted(profiles["name"]), key="orders_profile", in_words=False)
        symbols = _choose("Symbol", _symbols(profiles), key="orders_symbol", in_words=False)
        purposes = _choose("Purpose", PURPOSES, key="orders_purpose")
        day = _day("Recorded on", key="orders_day", help="By the database's clock, in the time zone of the header.")
    return OrderFilters(states, _ids(profiles, names), symbols, purposes, day, zone)


def trade_filters(profiles: pd.DataFrame) -> TradeFilters:
    """Show the filters of the trades; return what was chosen."""
    with st.grid(5, min_column_width=170):
        names = _choose("Profile", sorted(profiles["name"]), key="trades_profile", in_words=False)
        symbols = _choose("Symbol", _symbols(profiles), key="trades_symbol", in_words=False)
        reasons = _choose("Closed by", EXIT_REASONS, key="trades_reason")
        sides = _choose("Side", SIDES, key="trades_side")
        day = _day("Closed on", key="trades_day", help="A day on the exchange's calendar, in market time.")
    return TradeFilters(_ids(profiles, names), symbols, reasons, sides, day)


def position_filters(profiles: pd.DataFrame) -> PositionFilters:
    """Show the filters of the open positions; return what was chosen."""
    with st.grid(2, min_column_width=180):
        names = _choose("Profile", sorted(profiles["name"]), key="positions_profile", in_words=False)
        symbols = _choose("Symbol", _symbols(profiles), key="positions_symbol", in_words=False)
    return PositionFilters(_ids(profiles, names), symbols)


def performance_filters(profiles: pd.DataFrame) -> PerformanceChoice:
    """Show which period of which profiles is looked at, and beside what; return what was chosen."""
    period = st.segmented_control(
        "Period", list(PERIODS), default=DEFAULT, required=True, key="performance_period", bind="query-params",
        help="Whole months on the exchange's calendar, up to and with the month of the last session.",
    )  # fmt: skip
    symbols = _symbols(profiles)
    with st.grid(2, min_column_width=240):
        names = _choose("Profile", sorted(profiles["name"]), key="performance_profile", in_words=False)
        benchmark = st.selectbox(
            "Benchmark", [EQUAL_PARTS, *symbols, NO_BENCHMARK], key="performance_benchmark", bind="query-params",
            help="Buying at the start and holding, by the daily bars that the engine fetched.",
        )  # fmt: skip
    held = {EQUAL_PARTS: tuple(symbols), NO_BENCHMARK: ()}.get(benchmark, (benchmark,))
    return PerformanceChoice(period, _ids(profiles, names), benchmark, held)


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


def _day(label: str, *, key: str, help: str) -> date | None:
    chosen = st.date_input(
        label, None, min_value=_FIRST_DAY, max_value=_LAST_DAY, format="YYYY-MM-DD", key=key, bind="query-params",
        help=help,
    )  # fmt: skip
    return chosen if isinstance(chosen, date) else None


def _ids(profiles: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(profiles.loc[profiles["name"].isin(names), "id"])


def _symbols(profiles: pd.DataFrame) -> list[str]:
    return sorted({symbol for symbols in profiles["symbols"] for symbol in symbols})
