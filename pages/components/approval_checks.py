"""What the gate judged about an entry when it was asked, beside what it would say of it now."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pandas as pd
import streamlit as st
from streamlit.column_config import TextColumn

from db.commands import approval_checks
from db.queries.orders import decision
from pages.components.formats import NOTHING, words
from pages.components.messages import note, page_boundary
from pages.components.why_words import CHECKS, value_words
from pages.session.guard import Session

Check = Mapping[str, Any]


def risk_checks(session: Session, approval: Mapping[Any, Any]) -> None:
    """Offer the gate's checks of a waiting entry; they are asked for only when somebody wants to see them."""
    key = f"checks_{approval['id']}"
    if not st.toggle("Risk checks, when it was asked and now", key=key):
        return
    with page_boundary("comparison of checks"):
        now = approval_checks(session.client, approval_id=UUID(approval["id"]))
        then = decision(session.client, approval["order_id"])
        asked = then.checks.to_dict("records") if then else []
        note("Now: every check passes." if now.code is None else f"Now: it would be denied. {now.reason}")
        _table(compared(asked, now.checks), key=f"{key}_table")


def compared(asked: Sequence[Check], now: Sequence[Check]) -> pd.DataFrame:
    """Return each check with what was observed at both times, those that fail now or differ first.

    Returns
    -------
    DataFrame; columns `now`, `then` (passed or FAILED), `asks`, `observed_now`, `observed_then`, `limit`, `code` text
    """
    before = {check["name"]: check for check in asked}
    rows = [_row(check, before.get(check["name"])) for check in now]
    found = pd.DataFrame(rows, columns=["now", "then", "asks", "observed_now", "observed_then", "limit", "code"])
    order = (found["now"] != _PASSED) * 2 + (found["observed_now"] != found["observed_then"])
    return found.loc[order.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


_PASSED, _FAILED = "✓ passes", "✗ FAILS"


def _row(now: Check, then: Check | None) -> dict[str, str]:
    return {
        "now": _PASSED if now["passed"] else _FAILED,
        "then": NOTHING if then is None else _PASSED if then["passed"] else _FAILED,
        "asks": CHECKS.get(now["name"], words(now["name"])),
        "observed_now": _observed(now["observed"]),
        "observed_then": NOTHING if then is None else _observed(then["observed"]),
        "limit": _observed(now["limit"]),
        "code": now["name"],
    }


def _observed(value: object) -> str:
    """Return a value in the same words whether it comes as a number, as its text, or as what stands for none."""
    if value is None or value == "not set":
        return NOTHING
    try:
        return value_words(float(value) if isinstance(value, str) else value)
    except ValueError:
        return value_words(value)


def _table(checks: pd.DataFrame, *, key: str) -> None:
    st.dataframe(
        checks,
        hide_index=True,
        key=key,
        height=300,
        alt="Checks of the gate, now and when the entry was asked, those that fail or differ first",
        column_config={
            "now": TextColumn("Now", width="small"),
            "then": TextColumn("When asked", width="small"),
            "asks": TextColumn("What is asked", width="large"),
            "observed_now": TextColumn("Observed now"),
            "observed_then": TextColumn("Observed then"),
            "limit": TextColumn("Limit now"),
            "code": TextColumn("Code"),
        },
    )
