"""The life of an order, stage by stage, and how long each took. Database times only: no two clocks are mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from pages.components.formats import NOTHING, latency, words

STYLE = """<style>
.il-life { width: 100%; border-collapse: collapse; font-size: 14px }
.il-life th, .il-life td { padding: 5px 8px 5px 0; border: 0; border-bottom: 1px solid rgba(132, 146, 166, .3);
  text-align: left; vertical-align: top }
.il-life th { font-weight: 600; opacity: .75 } .il-life .il-num { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums }
.il-life tfoot td { font-weight: 600; border-bottom: 0 }
</style>"""


@dataclass(frozen=True)
class Stage:
    """Something that happened to an order. `took`: since the stage before; None for the first."""

    name: str
    at: datetime
    took: timedelta | None
    note: str = ""


def stages(order: pd.Series, moments: pd.Series) -> list[Stage]:
    """Return what happened to an order, in order of time.

    Parameters
    ----------
    order : a row of `db.queries.orders.orders_page`
    moments : as `db.queries.orders.order_moments`
    """
    gate = f"Refused: {order['code']}" if order["state"] == "denied" else "Let through"
    by = moments["decided_by_email"]
    is_entry = order["purpose"] == "entry"
    happened = [
        ("Signal", moments["signal_at"], "The strategy asked for it"),
        ("Gate" if is_entry else "Asked for", order["created_at"], gate if is_entry else ""),
        ("Approval asked", moments["asked_at"], ""),
        ("Approval decided", moments["decided_at"], f"By {by}" if isinstance(by, str) else ""),
        ("Ready to send", order["ready_at"], ""),
        ("Sent", order["submitted_at"], "The engine holds the permit"),
        ("Accepted", order["accepted_at"], "The broker has it"),
        ("First fill", moments["first_fill_at"], ""),
        ("Cancel asked", order["cancel_requested_at"], ""),
        ("Last fill", moments["last_fill_at"] if moments["last_fill_at"] != moments["first_fill_at"] else pd.NaT, ""),
        ("Ended", order["ended_at"], words(order["state"])),
    ]  # fmt: skip
    known = sorted(((at, name, note) for name, at, note in happened if pd.notna(at)), key=lambda stage: stage[0])
    before: list[datetime | None] = [None, *(at for at, _, _ in known)]
    return [Stage(name, at, at - last if last is not None else None, note)
            for (at, name, note), last in zip(known, before[:-1], strict=True)]  # fmt: skip


def lifecycle(found: Sequence[Stage], zone: ZoneInfo) -> None:
    """Show the stages beneath each other, and the whole time at the end."""
    st.html(lifecycle_html(found, zone))


def _took(stage: Stage) -> str:
    if stage.took is None:
        return NOTHING
    return f"+{latency(stage.took)}" if stage.took else "at once"


def lifecycle_html(found: Sequence[Stage], zone: ZoneInfo) -> str:
    """Return the stages as a table."""
    rows = "".join(
        f"<tr><td>{escape(stage.name)}<br><small>{escape(stage.note)}</small></td>"
        f'<td class="il-num">{stage.at.astimezone(zone):%H:%M:%S.%f}</td>'
        f'<td class="il-num">{_took(stage)}</td></tr>'
        for stage in found
    )
    whole = latency(found[-1].at - found[0].at) if found else NOTHING
    return (
        f'{STYLE}<table class="il-life"><thead><tr><th scope="col">Stage</th><th scope="col" class="il-num">Recorded '
        f'({found[0].at.astimezone(zone):%d %b %Y, %Z})</th><th scope="col" class="il-num">Took</th></tr></thead>'
        f'<tbody>{rows}</tbody><tfoot><tr><td>In all</td><td></td><td class="il-num">{whole}</td></tr></tfoot></table>'
        if found
        else ""
    )
