"""What is assumed to be different: limits, pauses, lockouts, approvals; all of it in the address."""

from dataclasses import dataclass
from decimal import Decimal

import pandas as pd
import streamlit as st

from engine.domain.replay import Approvals, Change, Controls
from pages.components.funnel_filters import symbols_of

THROUGHOUT = "Paused throughout"
_HOURS = {"Allowed": True, "Not allowed": False}


@dataclass(frozen=True)
class _Limit:
    field: str
    label: str
    help: str
    is_count: bool = False
    is_percent: bool = False


_LIMITS = (
    _Limit("order_notional_max_usd", "Order size, at most (USD)", "Quantity × limit price of one entry."),
    _Limit("order_qty_max", "Order quantity, at most", "Shares of one entry."),
    _Limit("price_collar_pct", "Price collar (%)", "Distance of the limit price from the quote.", is_percent=True),
    _Limit("position_notional_max_usd", "Position, at most (USD)", "What one profile holds or enters in one symbol."),
    _Limit("positions_max", "Symbols held, at most", "By one profile, with those being entered.", is_count=True),
    _Limit("open_orders_max", "Open entries, at most", "Of one profile, not filled yet.", is_count=True),
    _Limit("capital_usd", "Capital of each profile (USD)", "What its entries and positions may add up to."),
    _Limit("sector_max_pct", "Sector exposure (%)", "Of the owner's capital.", is_percent=True),
    _Limit("gross_max_pct", "Gross exposure (%)", "Of the owner's capital.", is_percent=True),
    _Limit("orders_per_minute_max", "Entries a minute, at most", "Of one profile, market time.", is_count=True),
    _Limit("orders_per_day_max", "Entries a day, at most", "Of one profile, market time.", is_count=True),
    _Limit("repeats_max", "Same entry, at most", "Within an hour: same profile, symbol and side.", is_count=True),
    _Limit("daily_loss_max_pct", "Daily loss (%)", "Of the profile's capital.", is_percent=True),
    _Limit("drawdown_max_pct", "Drawdown (%)", "Below the profile's peak equity.", is_percent=True),
    _Limit("loss_streak_max", "Losing trades in a row", "From this many on, entries stop.", is_count=True),
    _Limit("signal_bars_max", "Signal's age, at most (bars)", "Since the signal's bar was complete."),
    _Limit("quote_age_max_s", "Quote's age, at most (s)", "While the market is closed, at least four days hold."),
)


def change_form(profiles: pd.DataFrame) -> Change:
    """Show what can be assumed to be different; return what was chosen. Empty fields stay as they were."""
    with st.grid(4, min_column_width=190):
        pauses = _choice("Pauses and halts", [Controls.RECORDED, Controls.NONE, THROUGHOUT], "what_pauses",
                         "None: as if nobody had paused or halted anything.")  # fmt: skip
        lockouts = _choice("Lockouts", list(Controls), "what_lockouts", "None: as if no symbol had been locked out.")
        approvals = _choice("Approvals", list(Approvals), "what_approvals",
                            "As they were: what passes anew and needs a person waits, and earns nothing.")  # fmt: skip
        locked = st.multiselect("Locked out as well", symbols_of(profiles), key="what_locked", bind="query-params",
                                placeholder="None", help="As if these had been locked out throughout.")  # fmt: skip
    with st.expander("Limits", icon=":material/rule_settings:", key="what_limits_part"):
        st.caption("Empty: as it was recorded with each decision.")
        with st.grid(4, min_column_width=190):
            limits = {limit.field: value for limit in _LIMITS if (value := _number(limit)) is not None}
            closed = st.selectbox("Entries while the market is closed", list(_HOURS), index=None, key="what_closed",
                                  bind="query-params", placeholder="As recorded")  # fmt: skip
    if closed is not None:
        limits["entries_when_closed"] = _HOURS[closed]
    return Change(
        limits=limits,
        pauses=Controls.NONE if pauses == Controls.NONE else Controls.RECORDED,
        paused_throughout=pauses == THROUGHOUT,
        lockouts=Controls(lockouts),
        locked_symbols=frozenset(locked),
        approvals=Approvals(approvals),
    )


def _choice(label: str, options: list[str], key: str, help: str) -> str:
    return str(st.selectbox(label, [str(option) for option in options], key=key, bind="query-params", help=help))


def _number(limit: _Limit) -> Decimal | int | None:
    help = f"{limit.help} Empty: as recorded."
    if limit.is_count:
        return st.number_input(limit.label, min_value=0, value=None, step=1, key=f"what_{limit.field}",
                               bind="query-params", placeholder="As recorded", help=help)  # fmt: skip
    value = st.number_input(limit.label, min_value=0.0, value=None, key=f"what_{limit.field}", bind="query-params",
                            placeholder="As recorded", help=help)  # fmt: skip
    if value is None:
        return None
    return Decimal(str(value)) / (100 if limit.is_percent else 1)
