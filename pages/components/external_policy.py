"""Orders in a broker account that are not ours: what becomes of them, and the way to say so."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import set_external_order_policy
from db.queries.profiles import EXTERNAL_POLICIES
from pages.components.actions import act
from pages.components.formats import moment, words
from pages.components.messages import note, plain, tell

DEFAULT = "lock"
MEANS = {
    "lock": "the order is left alone; no entries in its symbol until it and its position are gone",
    "ignore": "it is shown, and nobody minds it",
    "adopt": "it becomes an order of the one active profile that trades its symbol, where that profile has the "
    "capital and trading is running; otherwise it locks",
}


def policy_of(account: str, profile_id: str, policies: pd.DataFrame) -> tuple[str, bool]:
    """Return the policy that counts for a profile, and whether it is the profile's own and not its account's."""
    own = policies.loc[policies["profile_id"] == profile_id, "policy"]
    if len(own):
        return str(own.iloc[0]), True
    held = _of_account(account, policies)
    return (held["policy"] if held else DEFAULT), False


def account_policies(accounts: list[str], policies: pd.DataFrame, zone: ZoneInfo, *, may_change: bool) -> None:
    """Show each account's policy, who set it and why, with the way to another."""
    for account in accounts:
        held = _of_account(account, policies)
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"account_{account}"):
            with st.container(width="stretch"):
                policy = held["policy"] if held else DEFAULT
                st.markdown(f"**Account {plain(account)}** :gray-badge[{words(policy)}]")
                note(f"{words(policy)}: {MEANS[policy]}.", _set_words(held, zone))
            if may_change:
                policy_popover(account, policies)


def policy_popover(account: str, policies: pd.DataFrame, *, profile_id: str | None = None, name: str = "") -> None:
    """Offer to change the policy of an account, or of one profile in it."""
    key = f"policy_{profile_id or account}"
    held = (
        policy_of(account, profile_id, policies)[0]
        if profile_id
        else (_of_account(account, policies) or {}).get("policy")
    )
    with st.popover("Orders not ours" if profile_id else "Change it", icon=":material/rule:", key=f"{key}_open"):
        chosen = st.selectbox("Orders that nobody here made", EXTERNAL_POLICIES, format_func=words, key=key,
                              index=EXTERNAL_POLICIES.index(held or DEFAULT))  # fmt: skip
        note(f"{words(chosen)}: {MEANS[chosen]}.", "Where several profiles trade a symbol, the strictest counts.")
        st.text_input("Why", key=f"{key}_why", max_chars=500, placeholder="It is kept with your name.")
        target = name or f"account {account}"
        st.button(plain(f"Yes, set it for {target}"), type="primary", key=f"{key}_send", on_click=_set,
                  args=(key, account, profile_id, target))  # fmt: skip


def _of_account(account: str, policies: pd.DataFrame) -> Mapping[Any, Any] | None:
    found = policies[(policies["broker_account"] == account) & policies["profile_id"].isna()]
    return found.iloc[0].to_dict() if len(found) else None


def _set_words(held: Mapping[Any, Any] | None, zone: ZoneInfo) -> str:
    if held is None:
        return "Nobody has said otherwise: this is what holds unless somebody does."
    return f"Set by {held['changed_by_email']}, {moment(held['changed_at'], zone)}: {held['reason']}"


def _set(key: str, account: str, profile_id: str | None, target: str) -> None:
    policy, reason = st.session_state[key], str(st.session_state[f"{key}_why"]).strip()
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    act(
        lambda client, id_: set_external_order_policy(
            client, policy=policy, reason=reason, request_id=id_, broker_account=account,
            profile_id=UUID(profile_id) if profile_id else None,
        ),
        lambda _: plain(f"Done: orders that are not ours: {policy}, for {target}."),
        content=("external_policy", account, profile_id, policy, reason),
    )  # fmt: skip
