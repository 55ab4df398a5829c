"""Profiles: whether each is switched on, and the way to change it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import set_profile_active
from pages.components.actions import act
from pages.components.external_policy import policy_of, policy_popover
from pages.components.few import a_few
from pages.components.formats import moment, money, share, words
from pages.components.messages import note, plain, show_empty, tell

ON, OFF = "Switched on", "Switched off"
_MODE_COLOURS = {"paper": "blue", "live": "red", "disabled": "gray"}


def profile_search() -> tuple[str, str | None]:
    """Show the search for profiles, kept in the address; return the text and which state is wanted, if one is."""
    with st.grid(2, min_column_width=220):
        text = st.text_input("Search", key="profiles_search", bind="query-params",
                             placeholder="Part of a name, a strategy or a symbol")  # fmt: skip
        state = st.segmented_control("State", (ON, OFF), key="profiles_state", bind="query-params")
    return str(text or "").strip().lower(), state


def matching(profiles: pd.DataFrame, text: str, state: str | None) -> pd.DataFrame:
    """Return the profiles whose name, strategy or symbols hold a text and that are in a state; None wants both."""
    symbols = profiles["symbols"].map(" ".join)
    found = (profiles["name"] + " " + profiles["strategy"] + " " + symbols).str.lower().str.contains(text, regex=False)
    return profiles[found & (True if state is None else profiles["active"] == (state == ON))]


def profile_list(
    profiles: pd.DataFrame, policies: pd.DataFrame, owners: Mapping[str, str], zone: ZoneInfo, *, may_change: bool
) -> None:
    """Show each profile, those that are switched off first, with the ways to change it.

    Parameters
    ----------
    policies : as `db.queries.profiles.external_policies`
    owners : addresses by member's id, as far as the reader may know them
    """
    if profiles.empty:
        show_empty("No profile matches.")
    for profile in a_few(profiles.sort_values("active", kind="stable"), "profiles").to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"profile_{profile['id']}"):
            with st.container(width="stretch"):
                _facts(profile, policies, owners.get(profile["owner_id"], ""), zone)
            if may_change:
                policy_popover(profile["broker_account"], policies, profile_id=profile["id"], name=profile["name"])
                _switch_popover(profile)


def _facts(profile: Mapping[Any, Any], policies: pd.DataFrame, owner: str, zone: ZoneInfo) -> None:
    mode = profile["trading_mode"]
    off = "" if profile["active"] else " :orange-badge[:material/power_off: switched off]"
    st.markdown(f"**{plain(profile['name'])}** :{_MODE_COLOURS[mode]}-badge[{words(mode)}]{off}")
    note(*profile_lines(profile, policies, owner, zone))


def profile_lines(profile: Mapping[Any, Any], policies: pd.DataFrame, owner: str, zone: ZoneInfo) -> list[str]:
    """Return what a profile trades, with how much, and why it is switched off where it is."""
    committed = profile["used_usd"] + profile["reserved_usd"]
    used = f" ({share(round(committed / profile['capital_usd'], 3))} in use)" if profile["capital_usd"] else ""
    policy, is_own = policy_of(profile["broker_account"], profile["id"], policies)
    lines = [
        f"{words(profile['strategy'])}, {profile['timeframe']}, {', '.join(profile['symbols'])}. "
        f"Capital {money(profile['capital_usd'])}{used}.{f' Of {owner}.' if owner else ''}",
        f"Account {profile['broker_account']}, shard {profile['shard']}. Orders there that are not ours: "
        f"{policy}{' (its own policy)' if is_own else ''}.",
    ]
    if not profile["active"]:
        why = profile["disabled_reason"] if isinstance(profile["disabled_reason"], str) else "No reason was kept."
        lines.append(f"Switched off since {moment(profile['updated_at'], zone)}: {why}")
    return lines


def _switch_popover(profile: Mapping[Any, Any]) -> None:
    key, active = f"profile_switch_{profile['id']}", bool(profile["active"])
    with st.popover("Switch off" if active else "Switch on", key=f"{key}_open",
                    icon=f":material/{'power_off' if active else 'power'}:"):  # fmt: skip
        note("It makes no new entries. Open positions keep their stops and are looked after; exits go on."
             if active else
             "It makes entries again, from its next signal on, as far as mode, lockouts and limits let them. "
             "Its drawdown is counted afresh from now.")  # fmt: skip
        st.text_input("Why", key=f"{key}_why", max_chars=500, placeholder="It is kept with your name.")
        st.button(plain(f"Yes, switch {profile['name']} {'off' if active else 'on'}"), type="primary",
                  key=f"{key}_send", on_click=_switch, args=(profile["id"], profile["name"], not active))  # fmt: skip


def _switch(profile_id: str, name: str, active: bool) -> None:
    reason = str(st.session_state[f"profile_switch_{profile_id}_why"]).strip()
    state = "on" if active else "off"
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    act(
        lambda client, id_: set_profile_active(
            client, profile_id=UUID(profile_id), active=active, reason=reason, request_id=id_
        ),
        lambda changed: plain(f"Done: {name} is switched {state}." if changed
                              else f"Nothing was changed: {name} was switched {state} already."),
        content=("profile_active", profile_id, active, reason),
    )  # fmt: skip
