"""Entries that wait for a person: what each is about, and approve or reject, one by one or several at once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from db.commands import decide_approval, decide_approvals
from db.models import Decision
from db.queries.approvals import ApprovalFilters, Queue, waiting_approvals
from db.queries.bars import latest_prices
from pages.components.actions import act
from pages.components.approval_checks import risk_checks
from pages.components.formats import age, clock_time, count, moment, money, quantity, signed_percent, words
from pages.components.messages import facts_html, page_boundary, plain, show_empty, tell
from pages.session.guard import Session, require_session
from pages.session.status import database_time, read_status

TICK_S = 5
_REASON_KEY = "approvals_reason"
_BECAUSE = {
    "mode": "orders of this kind need approval", "notional": "it is large",
    "first_trade": "it is the first in its symbol", "off_hours": "the market is closed",
    "loss_streak": "the profile lost several times in a row",
    "staged_resume": "trading resumes in stages",
}  # fmt: skip
Choice = Literal["approve", "reject"]
_DONE = {"approved": "Approved", "rejected": "Rejected", "denied": "Approved, but the gate said no at the release"}


def waiting_list(session: Session, filters: ApprovalFilters, at: datetime, zone: ZoneInfo) -> None:
    """Show what waits for a decision, what runs out first at the top. `at`: now, by the database's clock."""
    queue = waiting_approvals(session.client, filters)
    _news(filters, tuple(queue.approvals["id"]))
    if queue.approvals.empty:
        show_empty("Nothing waits for a decision.")
        return
    _bulk_bar(queue)
    prices = latest_prices(session.client, queue.approvals["symbol"]).set_index("symbol")
    for approval in queue.approvals.to_dict("records"):
        price = prices.loc[approval["symbol"]] if approval["symbol"] in prices.index else None
        _card(approval, price, at, zone)


@st.fragment(run_every=TICK_S)
def _news(filters: ApprovalFilters, shown: tuple[str, ...]) -> None:
    """Say what runs out next, and offer to show the list anew once it has changed; an empty one is shown at once."""
    with page_boundary("look for new approvals"):
        client = require_session().client
        waiting = waiting_approvals(client, filters).approvals
        if tuple(waiting["id"]) != shown:
            if not shown or st.button(
                "The list has changed: show it", icon=":material/refresh:", key="approvals_changed"
            ):
                st.rerun()
        elif shown:
            left = waiting["expires_at"].iloc[0] - database_time(read_status(client))
            st.caption(f"What runs out first comes first: the next in {age(left)}. Looked at every few seconds.")


def _bulk_bar(queue: Queue) -> None:
    """Offer to decide all that are ticked, with one reason."""
    shown = list(queue.approvals["id"])
    picked = tuple(id_ for id_ in shown if st.session_state.get(_pick_key(id_)))
    more = f" The {len(shown)} most urgent are shown." if queue.total > len(shown) else ""
    st.markdown(f"**{count(queue.total, 'entry')} waiting.**{more}")
    with st.container(horizontal=True, vertical_alignment="bottom", key="bulk"):
        st.text_input("Reason for all that are ticked", key=_REASON_KEY, max_chars=500, width=320,
                      placeholder="Needed to reject")  # fmt: skip
        st.button("Tick all shown", key="bulk_all", on_click=_tick, args=(shown,))
        for choice, icon in (("approve", ":material/done_all:"), ("reject", ":material/remove_done:")):
            st.button(f"{words(choice)} {len(picked)} ticked", icon=icon, disabled=not picked, key=f"bulk_{choice}",
                      on_click=_decide_all, args=(picked, choice))  # fmt: skip


def _card(approval: Mapping[Any, Any], price: pd.Series | None, at: datetime, zone: ZoneInfo) -> None:
    with st.container(border=True, key=f"approval_{approval['id']}"):
        title = plain(f"{_order_words(approval)}, {money(approval['notional_usd'])}")
        colour = "red" if approval["trading_mode"] == "live" else "blue"
        st.checkbox(f"**{title}** :{colour}-badge[{approval['trading_mode'].upper()}]", key=_pick_key(approval["id"]))
        st.html(_facts(approval, price, at, zone))
        risk_checks(require_session(), approval)
        with st.container(horizontal=True):
            st.button("Approve", icon=":material/check:", type="primary", key=f"approve_{approval['id']}",
                      on_click=_decide, args=(dict(approval), "approve"))  # fmt: skip
            with st.popover("Reject", icon=":material/close:", key=f"reject_open_{approval['id']}"):
                st.text_input("Why it is rejected", key=_why_key(approval["id"]), max_chars=500)
                st.button("Reject this entry", key=f"reject_{approval['id']}", on_click=_decide,
                          args=(dict(approval), "reject"))  # fmt: skip


def _facts(approval: Mapping[Any, Any], price: pd.Series | None, at: datetime, zone: ZoneInfo) -> str:
    """Return what a person needs to decide, as a plain table."""
    facts = {
        "Profile": approval["profile_name"],
        "Limit": f"{money(approval['limit_price'])} or better",
        "Price": drift_words(approval, price, zone),
        "Needed because": ", ".join(_BECAUSE.get(reason, words(reason)) for reason in approval["reasons"]),
        "Asked": f"{age(at - approval['requested_at'])} ago, {moment(approval['requested_at'], zone)}",
        "Time left": f"{age(approval['expires_at'] - at)}, until {clock_time(approval['expires_at'], zone)}",
    }
    return facts_html(facts)


def drift_words(approval: Mapping[Any, Any], price: pd.Series | None, zone: ZoneInfo) -> str:
    """Return how the price has moved since it was asked, and whether the limit still allows a fill."""
    asked = f"{money(approval['reference_price'])} when it was asked"
    if price is None:
        return f"{asked}; no later price is known"
    drift = signed_percent(price["price"] / approval["reference_price"] - 1)
    is_buy = approval["side"] == "buy"
    is_past = price["price"] > approval["limit_price"] if is_buy else price["price"] < approval["limit_price"]
    past = f". {'ABOVE' if is_buy else 'BELOW'} ITS LIMIT: it would not be filled now" if is_past else ""
    return (
        f"{money(price['price'])} now ({drift}), {asked}; latest {price['source']}, "
        f"market time {moment(price['price_at'], zone)}{past}"
    )


def _decide(approval: dict[str, Any], choice: Choice) -> None:
    reason = str(st.session_state.get(_why_key(approval["id"])) or "").strip() if choice == "reject" else None
    if choice == "reject" and not reason:
        tell("**Nothing was decided.** To reject an entry, say why.", failed=True)
        return
    act(
        lambda client, id_: decide_approval(
            client, approval_id=UUID(approval["id"]), decision=choice, reason=reason,
            shown_hash=approval["shown_hash"], request_id=id_,
        ),
        lambda decision: plain(f"{_outcome(decision)}: {_order_words(approval)}."),
        content=("decide", approval["id"], choice, reason, approval["shown_hash"]),
    )  # fmt: skip


def _decide_all(ids: tuple[str, ...], choice: Choice) -> None:
    reason = str(st.session_state[_REASON_KEY]).strip() or None
    if choice == "reject" and not reason:
        tell("**Nothing was decided.** To reject entries, say why.", failed=True)
        return
    error = act(
        lambda client, id_: decide_approvals(
            client, approval_ids=[UUID(id_) for id_ in ids], decision=choice, reason=reason, request_id=id_
        ),
        _outcomes,
        content=("decide", ids, choice, reason),
    )
    if error is None:
        st.session_state[_REASON_KEY] = ""


def _outcome(decision: Decision) -> str:
    if decision.status is None:
        return f"Not decided ({decision.message or decision.code})"
    why = f" ({decision.code}: {decision.reason})" if decision.status == "denied" else ""
    return f"{_DONE[decision.status]}{why}"


def _outcomes(decisions: list[Decision]) -> str:
    """Return how many came to what, each outcome once."""
    outcomes = pd.Series([_outcome(decision) for decision in decisions]).value_counts()
    return plain(". ".join(f"{number} × {outcome}" for outcome, number in outcomes.items()) + ".")


def _order_words(approval: Mapping[Any, Any]) -> str:
    return f"{words(approval['side'])} {quantity(approval['qty'])} {approval['symbol']}"


def _tick(ids: list[str]) -> None:
    for id_ in ids:
        st.session_state[_pick_key(id_)] = True


def _pick_key(approval_id: str) -> str:
    return f"pick_{approval_id}"


def _why_key(approval_id: str) -> str:
    return f"reject_why_{approval_id}"
