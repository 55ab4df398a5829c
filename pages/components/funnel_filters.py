"""Which recorded decisions are looked at: a period by the database's clock, and filters, all in the address."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.queries.decisions import DecisionFilters
from db.queries.paging import day_in_zone
from pages.components.formats import moment

SPANS = {"Hour": timedelta(hours=1), "Day": timedelta(days=1), "Week": timedelta(days=7), "Month": timedelta(days=30)}
DEFAULT = "Week"
CODES = (
    "TRADING_HALTED", "TRADING_PAUSED", "MODE_DISABLED", "PROFILE_INACTIVE", "SYMBOL_LOCKED", "SIGNAL_STALE",
    "QUOTE_STALE", "ORDER_UNKNOWN", "RECONCILIATION_BREAK", "DUPLICATE_ORDER", "STAGED_SIZE", "ORDER_QTY_MAX",
    "ORDER_NOTIONAL_MAX", "PRICE_COLLAR", "OPEN_ORDERS_MAX", "POSITIONS_MAX", "POSITION_LIMIT", "SECTOR_EXPOSURE",
    "GROSS_EXPOSURE", "CAPITAL_INSUFFICIENT", "ORDER_RATE", "REPEATED_EXECUTION", "DAILY_LOSS", "DRAWDOWN",
    "LOSS_STREAK", "WASH_TRADE", "MARKET_CLOSED", "LIMIT_NOT_SET",
)  # fmt: skip
_FIRST_DAY, _LAST_DAY = date(1990, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True)
class DecisionChoice:
    """What was chosen. `last_day` None: the period ends now."""

    span: str
    last_day: date | None
    zone: str
    profile_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    codes: tuple[str, ...] = ()

    def filters(self, at: datetime) -> DecisionFilters:
        """Return it as a period with a beginning and an end, seen at a moment."""
        until = day_in_zone(self.last_day, self.zone)[1] if self.last_day else at
        return DecisionFilters(until - SPANS[self.span], until, self.profile_ids, self.symbols, self.codes)


def decision_filters(profiles: pd.DataFrame, zone: ZoneInfo, *, key: str, with_codes: bool = False) -> DecisionChoice:
    """Show the choice of period, profiles, symbols and codes, kept in the address; return what was chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        span = st.segmented_control(
            "Period", list(SPANS), default=DEFAULT, required=True, key=f"{key}_period", bind="query-params",
            help="By the database's clock: when the gate wrote its decision down.",
        )  # fmt: skip
        last_day = st.date_input(
            "Up to and with", None, min_value=_FIRST_DAY, max_value=_LAST_DAY, format="YYYY-MM-DD",
            key=f"{key}_until", bind="query-params", width=200, help="Empty: up to now. In the header's time zone.",
        )  # fmt: skip
    with st.grid(3, min_column_width=180):
        names = _choose("Profile", sorted(profiles["name"]), f"{key}_profile")
        symbols = _choose("Symbol", symbols_of(profiles), f"{key}_symbol")
        codes = _choose("Denied for", CODES, f"{key}_code") if with_codes else ()
    ids = tuple(profiles.loc[profiles["name"].isin(names), "id"])
    return DecisionChoice(span, last_day if isinstance(last_day, date) else None, zone.key, ids, symbols, codes)


def period_words(filters: DecisionFilters, zone: ZoneInfo) -> str:
    """Return the period as people say it."""
    return f"Recorded from {moment(filters.since, zone)} to {moment(filters.until, zone)}."


def symbols_of(profiles: pd.DataFrame) -> list[str]:
    """Return the symbols that any of the profiles trades."""
    return sorted({symbol for symbols in profiles["symbols"] for symbol in symbols})


def _choose(label: str, options: list[str] | tuple[str, ...], key: str) -> tuple[str, ...]:
    return tuple(st.multiselect(label, options, key=key, bind="query-params", placeholder="All"))
