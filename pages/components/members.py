"""Members: who may do what here, and the way to change it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import set_member_role
from db.queries.members import ROLES
from pages.components.actions import act
from pages.components.few import a_few
from pages.components.formats import moment, words
from pages.components.messages import note, plain, show_empty, tell

MAY = {
    "admin": "sees everything, stops and resumes trading, sets limits and roles",
    "operator": "sees everything, decides approvals, sets lockouts, looks after alerts; changes no limit and no role",
    "analyst": "sees the own profiles alone and changes nothing",
}
_COLOURS = {"admin": "violet", "operator": "blue", "analyst": "gray"}


def member_search() -> tuple[str, tuple[str, ...]]:
    """Show the search for members, kept in the address; return the text and the roles that are wanted."""
    with st.grid(2, min_column_width=220):
        text = st.text_input("Search", key="members_search", bind="query-params", placeholder="Part of an address")
        roles = st.multiselect("Role", ROLES, format_func=words, key="members_role", bind="query-params",
                               placeholder="All")  # fmt: skip
    return str(text or "").strip().lower(), tuple(roles)


def matching(members: pd.DataFrame, text: str, roles: tuple[str, ...]) -> pd.DataFrame:
    """Return the members whose address or name holds a text and who have one of some roles; none means any."""
    found = (members["email"] + " " + members["display_name"]).str.lower().str.contains(text, regex=False)
    return members[found & (members["role"].isin(roles) if roles else True)]


def member_list(members: pd.DataFrame, own_email: str, zone: ZoneInfo) -> None:
    """Show each member with the way to another role."""
    if members.empty:
        show_empty("No member matches.")
    for member in a_few(members, "members").to_dict("records"):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"member_{member['user_id']}"):
            with st.container(width="stretch"):
                _facts(member, own_email, zone)
            _role_popover(member, own_email)


def _facts(member: Mapping[Any, Any], own_email: str, zone: ZoneInfo) -> None:
    you = " (you)" if member["email"] == own_email else ""
    name = member["display_name"] or member["email"].split("@")[0]
    st.markdown(f"**{plain(name)}**{you} :{_COLOURS[member['role']]}-badge[{words(member['role'])}]")
    note(member["email"], f"Member since {moment(member['created_at'], zone)}, "
                          f"role since {moment(member['updated_at'], zone)}.")  # fmt: skip


def _role_popover(member: Mapping[Any, Any], own_email: str) -> None:
    key = f"role_{member['user_id']}"
    others = [role for role in reversed(ROLES) if role != member["role"]]  # what may least comes first
    with st.popover("Change role", icon=":material/manage_accounts:", key=f"{key}_open"):
        role = st.selectbox("New role", others, format_func=words, key=key)
        note(f"{words(role)}: {MAY[role]}.", "It holds from the next thing that they do; no new sign-in is needed.")
        if member["email"] == own_email:
            st.markdown(":material/warning: **This is you:** you will not be able to take it back yourself.")
        st.text_input("Why", key=f"{key}_why", max_chars=500, placeholder="It is kept with your name.")
        st.button(plain(f"Yes, make {member['email']} {_article(role)}"), type="primary", key=f"{key}_send",
                  on_click=_set, args=(member["user_id"], member["email"], member["role"]))  # fmt: skip


def _set(user_id: str, email: str, held: str) -> None:
    role = st.session_state[f"role_{user_id}"]
    reason = str(st.session_state[f"role_{user_id}_why"]).strip()
    if not reason:
        tell("**Nothing was changed.** A reason is required: say in a few words why.", failed=True)
        return
    act(
        lambda client, id_: set_member_role(client, user_id=UUID(user_id), role=role, reason=reason, request_id=id_),
        lambda changed: plain(f"Done: {email} is {_article(role)} now." if changed
                              else f"Nothing was changed: {email} is {_article(role)} already."),
        content=("role", user_id, held, role, reason),
    )  # fmt: skip


def _article(role: str) -> str:
    return f"an {role}"  # each of the three begins with a vowel
