"""What a control acts on: all of trading, one profile, or one symbol."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from db.models import ControlMode, ScopeControl, TradingStatus

GLOBAL, PROFILE, SYMBOL = "All trading", "Profile", "Symbol"
_CHOICES = (GLOBAL, PROFILE, SYMBOL)


@dataclass(frozen=True)
class Target:
    """A scope with its key, and what people call it."""

    scope: str
    key: str
    name: str

    def control(self, status: TradingStatus) -> ScopeControl | None:
        """Return what the status says of this scope when it is not simply running."""
        if self.scope == "global":
            return ScopeControl.model_validate(
                {**status.model_dump(), "scope": "global", "scope_key": "*", "changed_by_email": status.lastChangedBy}
            )
        return next((held for held in status.scopes if (held.scope, held.scope_key) == (self.scope, self.key)), None)

    def mode(self, status: TradingStatus) -> ControlMode:
        """Return the mode that was set for this very scope; a wider one may be stricter."""
        held = self.control(status)
        return held.mode if held else "RUNNING"


EVERYTHING = Target("global", "*", "all trading")


def target_picker(profiles: pd.DataFrame, *, key: str) -> Target:
    """Show the choice of scope, kept in the address under `key`; return what was chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choice = st.segmented_control(
            "Applies to", _CHOICES, default=GLOBAL, required=True, key=key, bind="query-params",
            help="The strictest of the three holds for an order: all trading, its profile, its symbol.",
        )  # fmt: skip
        if choice == PROFILE and len(profiles):
            ids = _ids_by_label(profiles)
            name = st.selectbox("Profile", list(ids), key=f"{key}_profile", bind="query-params", width=320)
            return Target("profile", ids[name], f"profile {name}")
        symbols = sorted({symbol for held in profiles["symbols"] for symbol in held})
        if choice == SYMBOL and symbols:
            symbol = st.selectbox("Symbol", symbols, key=f"{key}_symbol", bind="query-params", width=320)
            return Target("symbol", symbol, symbol)
    return EVERYTHING


def target_name(scope: str, scope_key: str, profile_names: dict[str, str]) -> str:
    """Return a scope as people call it; a profile by its name where it is known."""
    if scope == "global":
        return EVERYTHING.name
    return f"profile {profile_names.get(scope_key, scope_key)}" if scope == "profile" else scope_key


def _ids_by_label(profiles: pd.DataFrame) -> dict[str, str]:
    """Return the profiles' ids by their names; two of the same name are told apart by their ids."""
    names, ids = profiles["name"], profiles["id"]
    labels = names.where(~names.duplicated(keep=False), names + " (" + ids.str[:8] + ")")
    return dict(zip(labels, ids, strict=True))
