"""Turning pages of a list that is read by key: older, newer, back to the newest."""

from collections.abc import Hashable

import streamlit as st

from db.queries.paging import Cursor


class Pager:
    """Where a person is in a list. Other filters start again at the newest."""

    def __init__(self, key: str, filters: Hashable) -> None:
        self._key = f"_pager_{key}"
        if st.session_state.get(self._key, {}).get("filters") != filters:
            st.session_state[self._key] = {"filters": filters, "trail": []}

    @property
    def cursor(self) -> Cursor | None:
        """Where the present page starts; None for the newest."""
        return self._trail[-1] if self._trail else None

    def buttons(self, following: Cursor | None) -> None:
        """Show where we are and the ways on. `following`: where the next page starts, None on the last."""
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Newest", icon=":material/first_page:", disabled=not self._trail, on_click=self._trail.clear,
                      key=f"{self._key}_newest")  # fmt: skip
            st.button("Newer", icon=":material/chevron_left:", disabled=not self._trail, on_click=self._back,
                      key=f"{self._key}_newer")  # fmt: skip
            st.button("Older", icon=":material/chevron_right:", disabled=following is None,
                      on_click=self._trail.append, args=(following,), key=f"{self._key}_older")  # fmt: skip
            st.caption(f"Page {len(self._trail) + 1}")

    @property
    def is_at_newest(self) -> bool:
        """Whether the present page is the newest one."""
        return not self._trail

    def _back(self) -> None:
        if self._trail:
            self._trail.pop()

    @property
    def _trail(self) -> list[Cursor]:
        trail: list[Cursor] = st.session_state[self._key]["trail"]
        return trail
