"""The audit log: filters, rows, one row in full, and the proof that none was changed."""

import json
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from streamlit.column_config import TextColumn

from db.commands import verify_audit_chain
from db.errors import AuthorityError
from db.models import AuditProof
from db.queries.audit import ACTIONS, ENGINE, OUTCOMES, AuditFilters, audit_entry
from pages.components.address import close, open_selected
from pages.components.formats import NOTHING, count, moment, words
from pages.components.messages import describe, facts_html, note, page_boundary, plain, show_empty, tell
from pages.components.tables import time_column
from pages.session.guard import Session, current_session

OPENED = "entry"
_PROOF_KEY = "_audit_proof"
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2100, 1, 1)
_EVERYONE = "Everyone"


def audit_filters(members: pd.DataFrame, zone: str) -> AuditFilters:
    """Show the filters of the log, kept in the address; return what was chosen. `zone`: in which days are meant."""
    ids = dict(zip(members["email"], members["user_id"], strict=True)) | {ENGINE: ENGINE}
    with st.grid(5, min_column_width=170):
        actor = st.selectbox("Who", [_EVERYONE, *ids], key="audit_actor", bind="query-params")
        actions = st.multiselect("What", ACTIONS, format_func=words, key="audit_action", bind="query-params",
                                 placeholder="All")  # fmt: skip
        outcome = st.selectbox("Outcome", ["All", *OUTCOMES], format_func=words, key="audit_outcome",
                               bind="query-params")  # fmt: skip
        since = _day("From day", "audit_from")
        until = _day("To day", "audit_to")
    outcomes = () if outcome == "All" else (outcome,)
    return AuditFilters(ids.get(actor), tuple(actions), outcomes, since, until, zone)


def audit_table(found: pd.DataFrame, names: Mapping[str, str], zone: ZoneInfo) -> None:
    """Show rows of the log; selecting one opens it in the address.

    Parameters
    ----------
    names : what profiles and members are called, by their ids
    """
    shown = pd.DataFrame(
        {
            "at": found["at"],
            "who": found["actor_email"],
            "role": found["actor_role"].map(words),
            "what": found["action"].map(words),
            "on": found["target"].map(lambda target: target_words(target, names)),
            "outcome": found["outcome"].map({"done": "✓ Done", "refused": "✗ Refused"}),
            "reason": found["reason"].fillna(""),
            "row": found["id"],
        }
    )
    st.dataframe(
        shown, hide_index=True, placeholder=NOTHING, key="audit_table", selection_mode="single-row",
        on_select=open_selected(OPENED, "audit_table", found["id"].tolist()),
        alt="The audit log, the newest first: who did what to what, with which outcome and why",
        column_config={
            "at": time_column("When", zone), "who": TextColumn("Who"), "role": TextColumn("As"),
            "what": TextColumn("What"), "on": TextColumn("On"), "outcome": TextColumn("Outcome"),
            "reason": TextColumn("Reason", width="large"), "row": TextColumn("Row"),
        },
    )  # fmt: skip


def for_export(found: pd.DataFrame) -> pd.DataFrame:
    """Return rows with their details as JSON, for CSV."""
    return found.assign(detail=found["detail"].map(json.dumps))


def target_words(target: str, names: Mapping[str, str]) -> str:
    """Return what an act was about as people call it: Profile Alice trend daily, Symbol IBM, Risk config."""
    kind, _, which = target.partition(":")
    is_id = len(which) == 36 and which.count("-") == 4
    name = names.get(which) or (which[:8] if is_id else which)
    return f"{words(kind)} {name}".strip()


def entry_drawer(session: Session, entry_id: str, zone: ZoneInfo) -> None:
    """Open the drawer of one row: everything that was kept of an act."""
    found = audit_entry(session.client, entry_id)
    title = f"{words(found['action'])}: {found['outcome']}" if found else "No such row"
    st.dialog(title, width="medium", position="right", icon=":material/policy:",
              on_dismiss=lambda: close(OPENED))(partial(_story, found, zone))()  # fmt: skip


def _story(found: dict[str, Any] | None, zone: ZoneInfo) -> None:
    with page_boundary("row"):
        if found is None:
            show_empty("There is no such row among those that you may see. Check the address, or close this.")
            return
        facts = {
            "When": moment(pd.Timestamp(found["at"]).to_pydatetime(), zone),
            "Who": f"{found['actor_email']}, {found['actor_role']}",
            "On": found["target"],
            "Reason": found["reason"] or NOTHING,
            "Row": found["id"],
            "Hash": found["hash"].removeprefix("\\x"),
            "Follows on": found["prev_hash"].removeprefix("\\x"),
        }
        st.html(facts_html(facts))
        st.markdown("**Details**")
        st.json(found["detail"], expanded=2)


def chain_proof() -> None:
    """Offer to recompute the log's hashes, and show what came of it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Verify the log", icon=":material/verified:", key="audit_verify", on_click=_verify,
                  help="Recomputes every row's hash from its content and the row before it.")  # fmt: skip
        note("Each row holds the hash of the row before it: a row that is changed, removed or put in between shows.")
    proof: AuditProof | None = st.session_state.get(_PROOF_KEY)
    if proof:
        show = st.success if proof.ok else st.error
        show(plain(proof_words(proof)), icon=":material/verified:" if proof.ok else ":material/gpp_bad:")
        if proof.first_broken_id:
            st.button(f"Show row {proof.first_broken_id}", key="audit_broken", on_click=_open,
                      args=(proof.first_broken_id,))  # fmt: skip


def proof_words(proof: AuditProof) -> str:
    """Return what recomputing the chains has shown, and where the first one breaks."""
    size = f"{count(proof.rows, 'row')} in {count(proof.chains, 'chain')}"
    if proof.ok:
        return f"The log verifies: {size}, each as it was written."
    broken = proof.first_broken or {}
    where = f"row {proof.first_broken_id}" if proof.first_broken_id else "the end of a chain"
    what = f" ({words(broken['action'])}, {broken['at']})" if broken.get("action") else ""
    return (
        f"The log does not verify. It breaks at {where}{what}. {broken.get('why', '')} "
        f"Do not rely on what comes after it, keep a copy of the database, and find out who could write to it."
    )


def _verify() -> None:
    try:
        st.session_state[_PROOF_KEY] = verify_audit_chain(current_session().client)
    except AuthorityError as e:
        st.session_state.pop(_PROOF_KEY, None)
        tell(f"**The log was not verified.** {describe(e)}", failed=True)


def _open(entry_id: int) -> None:
    st.query_params[OPENED] = str(entry_id)


def _day(label: str, key: str) -> date | None:
    chosen = st.date_input(label, None, min_value=_FIRST_DAY, max_value=_LAST_DAY, format="YYYY-MM-DD", key=key,
                           bind="query-params", help="In the time zone of the header.")  # fmt: skip
    return chosen if isinstance(chosen, date) else None
