"""Keyboard shortcuts for what is safe: going to a page, and stopping. No key lifts a pause or moves money."""

from collections.abc import Callable, Iterable, Mapping

import streamlit as st

STYLE = "<style>.st-key-shortcuts { display: none }</style>"
PAUSE_KEYS = "Alt+Shift+X"
# None is a browser's own, and none types a character where somebody writes.
PAGE_KEYS = {
    "Overview": "Alt+Shift+O", "Positions": "Alt+Shift+P", "Orders": "Alt+Shift+S", "Control": "Alt+Shift+K",
    "Approvals": "Alt+Shift+A", "Lockouts": "Alt+Shift+L", "Decisions": "Alt+Shift+D", "Engine": "Alt+Shift+E",
}  # fmt: skip


def shortcuts(pages: Iterable[st.Page], pause: Callable[[], None] | None) -> None:
    """Listen to the keys. All of them have a place to click as well, so the buttons themselves are not seen.

    Parameters
    ----------
    pages : those that the menu offers
    pause : called when PAUSE is asked for; None when there is nothing to pause, or the person may not
    """
    st.html(STYLE)
    with st.container(key="shortcuts"):
        for page in pages:
            keys = PAGE_KEYS.get(page.title)
            if keys and st.button(f"Go to {page.title}", key=f"go_to_{page.title}", shortcut=keys):
                st.switch_page(page)
        if pause:
            st.button("Pause at once", key="pause_by_key", shortcut=PAUSE_KEYS, on_click=pause)


def shortcut_list(titles: Iterable[str], *, may_pause: bool) -> Mapping[str, str]:
    """Return what each shortcut does, of those that a person has."""
    held = {keys: title for title, keys in PAGE_KEYS.items() if title in set(titles)}
    return {**held, **({PAUSE_KEYS: "PAUSE"} if may_pause else {})}
