"""Figures in a row: each with its name, how it is worked out, and what it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st

_COLORS: dict[str, Literal["green", "red", "off"]] = {"good": "green", "bad": "red", "plain": "off"}


@dataclass(frozen=True)
class Figure:
    """One figure, as text. `help`: how it is worked out. `note`: a line beneath, in words; `tone` only colours it."""

    label: str
    value: str
    help: str
    note: str | None = None
    tone: Literal["good", "bad", "plain"] = "plain"


def figures(items: Sequence[Figure], *, columns: int = 5, min_width: int = 160) -> None:
    """Show figures side by side, as many in a row as the window has room for."""
    with st.grid(columns, min_column_width=min_width):
        for item in items:
            st.metric(
                item.label,
                item.value,
                delta=item.note,
                delta_color=_COLORS[item.tone],
                delta_arrow="off",
                help=item.help,
                border=True,
                height="stretch",
            )
