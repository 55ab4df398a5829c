"""What a person has opened on a page, kept in the address: it can be sent to others, and survives a reload."""

from collections.abc import Callable, Sequence

import streamlit as st


def opened(name: str) -> str | None:
    """Return the id that the address says is opened under a name; None when nothing is."""
    return st.query_params.get(name) or None


def open_selected(name: str, table_key: str, ids: Sequence[str]) -> Callable[[], None]:
    """Return what to call when a table's selection changes: it opens the selected row's id, or closes."""

    def selected() -> None:
        rows = st.session_state[table_key]["selection"]["rows"]
        if rows and rows[0] < len(ids):
            st.query_params[name] = ids[rows[0]]
        else:
            close(name)

    return selected


def close(name: str) -> None:
    """Take what is opened under a name out of the address."""
    if name in st.query_params:
        del st.query_params[name]
