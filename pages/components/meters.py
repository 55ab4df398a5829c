"""Meters: how much of a limit is used, as words and as a bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

from pages.components.formats import NOTHING, share

NEAR_THE_LIMIT = 0.8

STYLE = """<style>
.il-meters { display: grid; gap: 12px; margin: 0; padding: 0; font-size: 14px }
.il-meter-head { display: flex; justify-content: space-between; gap: 12px; flex-wrap: wrap }
.il-meter-head span:last-child { font-variant-numeric: tabular-nums }
.il-meter-track { height: 8px; border-radius: 4px; background: rgba(132, 146, 166, .25); margin-top: 4px;
  overflow: hidden }
.il-meter-fill { height: 100%; border-radius: 4px; background: #3B82F6 }
.il-meter-near { background: repeating-linear-gradient(45deg, #F59E0B 0 6px, #B45309 6px 9px) }
.il-meter-over { background: repeating-linear-gradient(45deg, #E0533D 0 4px, #912018 4px 8px) }
</style>"""


@dataclass(frozen=True)
class Meter:
    """One quantity. `used`: the fraction of what the bar stands for; None when there is nothing to compare with."""

    name: str
    words: str
    used: float | None
    is_limit: bool = True  # else the bar only compares: a full one is nothing bad


def meters(items: Sequence[Meter]) -> None:
    """Show meters beneath each other. How near a limit is, is said in words as well as by the bar's pattern."""
    st.html(f'{STYLE}<div class="il-meters" role="list">{"".join(map(_item, items))}</div>')


def _item(meter: Meter) -> str:
    width = min(max(meter.used or 0.0, 0.0), 1.0) * 100
    return (
        f'<div role="listitem"><div class="il-meter-head"><span>{escape(meter.name)}</span>'
        f"<span>{escape(meter.words)}{escape(_nearness(meter))}</span></div>"
        f'<div class="il-meter-track"><div class="il-meter-fill{_look(meter)}" style="width:{width:.1f}%"></div>'
        "</div></div>"
    )


def _nearness(meter: Meter) -> str:
    if not meter.is_limit:
        return ""
    if meter.used is None:
        return f" · {NOTHING} of its limit"
    word = "OVER THE LIMIT, " if meter.used > 1 else "near the limit, " if meter.used >= NEAR_THE_LIMIT else ""
    return f" · {word}{share(round(meter.used, 3))} used"


def _look(meter: Meter) -> str:
    if not meter.is_limit or meter.used is None or meter.used < NEAR_THE_LIMIT:
        return ""
    return " il-meter-over" if meter.used > 1 else " il-meter-near"
