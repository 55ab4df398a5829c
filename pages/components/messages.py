"""What a person is told: what happened, what failed and what to do, what is empty and why."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from uuid import uuid4

import streamlit as st

from db.errors import AuthorityError, Conflict, Forbidden, Invalid, NotFound, NotSignedIn, PreflightFailed, Unreachable
from db.models import ControlAnswer, PreflightItem
from pages.components.formats import count
from pages.components.preflight import failing_words
from pages.session.guard import token_was_refused

_KEY = "_messages"
_log = logging.getLogger(__name__)

_WHAT_TO_DO = {
    Unreachable: "Nothing is shown because nothing is known. It will be read again on the next try.",
    Forbidden: "Your role does not allow this.",
    Invalid: "Nothing was changed. Correct it and try again.",
    NotFound: "It may have ended meanwhile. Look again.",
    Conflict: "Nothing was changed. Look at the current state and decide again.",
}


def tell(text: str, *, failed: bool = False) -> None:
    """Keep a message for the next run; callbacks cannot show anything themselves."""
    st.session_state.setdefault(_KEY, []).append((text, failed))


def answer_words(answer: ControlAnswer, mode: str, name: str) -> str:
    """Return what a control request did. In the past tense: what holds now is for the badge to say."""
    if not answer.changed:
        return f"Nothing was changed: {name} had been set to {mode} already."
    canceled = f" {count(answer.entries_canceled, 'unsent entry')} cancelled." if answer.entries_canceled else ""
    return plain(f"Done: you set {name} to {mode}.{canceled}")


def show_messages() -> None:
    """Show what callbacks left, until the next run."""
    for text, failed in st.session_state.pop(_KEY, []):
        if failed:
            st.error(text, icon=":material/error:")
        else:
            # No toast: it would lie over PAUSE.
            st.success(text, icon=":material/check_circle:")


def describe(error: AuthorityError) -> str:
    """Return an error as a sentence and what to do about it."""
    advice = error.hint or _WHAT_TO_DO.get(type(error), "Try again; if it stays, tell whoever runs this installation.")
    message = error.message
    if isinstance(error, PreflightFailed) and error.details:
        message = f"Trading was not resumed. {failing_words([PreflightItem(**item) for item in error.details])}"
    return plain(f"{message} {advice}")


def plain(text: str) -> str:
    """Return what somebody wrote so that Markdown shows it as it is, and loads and links nothing."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>$~:])", r"\\\1", text)


def note(*lines: str) -> None:
    """Show small print as it is, whoever wrote it."""
    st.html(f'<div class="il-note">{"<br>".join(map(escape, lines))}</div>')


def facts_html(facts: Mapping[str, object]) -> str:
    """Return facts as a plain table of HTML; whatever somebody wrote into them stays text."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f'<dl class="il-facts">{rows}</dl>'


def show_empty(text: str) -> None:
    """Say that there is nothing, which is not the same as not knowing."""
    st.info(text, icon=":material/inbox:")


@contextmanager
def page_boundary(part: str = "page") -> Iterator[None]:
    """Show whatever goes wrong as a message in its place, and keep the rest of the page alive.

    The frame puts one around each page; a part that renews itself runs without the frame and needs its own.
    """
    try:
        yield
    except NotSignedIn as e:
        token_was_refused(e)
    except AuthorityError as e:
        st.error(f"**This {part} could not be read.** {describe(e)}", icon=":material/cloud_off:")
        st.button("Try again", icon=":material/refresh:", key=f"try_again_{part}")
    except Exception:  # noqa: BLE001 - the page boundary: whatever it is, log it and say so
        reference = uuid4().hex[:8]
        _log.exception("%s failed, reference %s", part, reference)
        st.error(
            f"**This {part} failed.** The error was recorded under {reference}. Reload the page; "
            "if it stays, pass that reference on.",
            icon=":material/error:",
        )
